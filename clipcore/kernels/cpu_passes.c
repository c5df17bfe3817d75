/* Passes over many tensors: cut into chunks that torch's threads take one after the other, each with a Part of its own.
   Parts are added up in the order of memory, so a result does not depend on how many threads there are. */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

enum {
    CHUNK = 1 << 15,  /* elements in a unit of work: fits the L2 cache, and 124 M elements still make 3,800 of them */
    GRAIN = 1 << 19,  /* elements, some 50 us, for which another thread is worth the wait until it is scheduled */
    SAMPLE = 1 << 10, /* elements in a block that the exponent histogram looks at or skips */
};

struct Pool pool;

typedef struct {
    int64_t tensor, first, numel;
} Chunk;

typedef struct Pass Pass;
struct Pass {
    Part (*visit)(const Pass *, const Chunk *);
    const Span *spans, *weights;
    const double *coef;
    int64_t step; /* from one tensor's coefficient to the next one's; 0 if they share one */
    double limit, clipping, eps;
    bool square;
    bool backwards; /* from the last chunk to the first: what the pass before has read last is still in the cache */

    Chunk *chunks;
    int64_t n_chunks, room, elements;
    bool out_of_memory;

    _Atomic int64_t next; /* the first chunk that no thread has taken */
    Part *parts;          /* of each chunk */
    _Atomic int64_t counts[BINS];
};

static Run slice(const Span *span, int64_t first, int64_t numel)
{
    return (Run){span->run.kind, span->run.data + first * size_of(span->run.kind), numel};
}

static Run run_of(const Pass *pass, const Chunk *chunk)
{
    return slice(&pass->spans[chunk->tensor], chunk->first, chunk->numel);
}

static void append(Pass *pass, Chunk chunk)
{
    if (pass->n_chunks == pass->room) {
        pass->room = pass->room ? 2 * pass->room : 256;
        Chunk *larger_table = realloc(pass->chunks, (size_t)pass->room * sizeof *pass->chunks);
        if (!larger_table) {
            pass->room = pass->n_chunks;
            pass->out_of_memory = true;
            return;
        }
        pass->chunks = larger_table;
    }
    pass->chunks[pass->n_chunks++] = chunk;
    pass->elements += chunk.numel;
}

/* Adds a tensor's chunks of `length` elements to the table, from element `first` on, one every `stride` elements. */
static void cut(Pass *pass, int64_t tensor, int64_t first, int64_t length, int64_t stride)
{
    int64_t numel = pass->spans[tensor].run.numel;
    for (; first < numel; first += stride)
        append(pass, (Chunk){tensor, first, numel - first < length ? numel - first : length});
}

/* The chunks that a thread works on until it takes more. A share fixed in advance would make fast threads wait. */
typedef struct {
    int64_t next, end;
} Share;

/* Takes small chunks by the dozen, so that threads do not write to the same cache lines. */
static const Chunk *take(Pass *pass, Share *share)
{
    if (share->next == share->end) {
        int64_t count = 1 + pass->n_chunks * CHUNK / (pass->elements + CHUNK);
        share->next = atomic_fetch_add_explicit(&pass->next, count, memory_order_relaxed);
        share->end = share->next + count;
    }
    if (share->next >= pass->n_chunks)
        return NULL;
    int64_t number = share->next++;
    return &pass->chunks[pass->backwards ? pass->n_chunks - 1 - number : number];
}

static void visit_chunks(int64_t begin, int64_t end, void *context)
{
    (void)begin, (void)end;
    Pass *pass = context;
    Share share = {0};
    for (const Chunk *chunk; (chunk = take(pass, &share));)
        pass->parts[chunk - pass->chunks] = pass->visit(pass, chunk);
}

static void in_parallel(Pass *pass, void (*worker)(int64_t, int64_t, void *))
{
    uint32_t threads = 1;
    if (pool.get_num_threads)
        pool.get_num_threads(&threads);
    int64_t useful = pass->elements / GRAIN;
    if (pool.parallel_for && threads > 1 && useful > 1)
        pool.parallel_for(0, useful < threads ? useful : threads, 1, worker, pass);
    worker(0, 1, pass); /* alone; or finding nothing left */
}

/* Visits every chunk and adds its part to its tensor's. Releases the table. */
static bool run_pass(Pass *pass, Part *parts)
{
    pass->parts = calloc((size_t)pass->n_chunks + 1, sizeof *pass->parts); /* + 1: never empty, so null is a failure */
    bool ready = pass->parts && !pass->out_of_memory;
    if (ready) {
        in_parallel(pass, visit_chunks);
        for (int64_t i = 0; i < pass->n_chunks; i++)
            add_part(&parts[pass->chunks[i].tensor], pass->parts[i]);
    }
    free(pass->chunks);
    free(pass->parts);
    return ready;
}

static Part visit_measure(const Pass *pass, const Chunk *chunk)
{
    return (Part){.before = run_measure(run_of(pass, chunk), pass->square)};
}

bool pass_measure(const Span *spans, int64_t n, bool square, Part *parts)
{
    Pass pass = {.visit = visit_measure, .spans = spans, .square = square};
    for (int64_t tensor = 0; tensor < n; tensor++)
        cut(&pass, tensor, 0, CHUNK, CHUNK);
    return run_pass(&pass, parts);
}

static Part visit_scale(const Pass *pass, const Chunk *chunk)
{
    Run run = run_of(pass, chunk);
    double coef = pass->coef[chunk->tensor * pass->step];
    Tally written = {0};
    if (coef < 0.0)
        memset(run.data, 0, (size_t)(run.numel * size_of(run.kind)));
    else
        written = run_scale(run, coef, pass->square);
    return (Part){.after = written, .changed = run.numel};
}

bool pass_scale(const Span *spans, int64_t n, const double *coef, int64_t step, bool square, Part *parts)
{
    Pass pass = {
        .visit = visit_scale, .spans = spans, .coef = coef, .step = step, .square = square, .backwards = true,
    };
    for (int64_t tensor = 0; tensor < n; tensor++)
        if (coef[tensor * step] != 1.0)
            cut(&pass, tensor, 0, CHUNK, CHUNK);
    return run_pass(&pass, parts);
}

static Part visit_clamp(const Pass *pass, const Chunk *chunk)
{
    return run_clamp(run_of(pass, chunk), pass->limit, pass->square);
}

bool pass_clamp(const Span *spans, int64_t n, double limit, bool square, Part *parts)
{
    Pass pass = {.visit = visit_clamp, .spans = spans, .limit = limit, .square = square};
    for (int64_t tensor = 0; tensor < n; tensor++)
        cut(&pass, tensor, 0, CHUNK, CHUNK);
    return run_pass(&pass, parts);
}

static Part visit_units(const Pass *pass, const Chunk *chunk)
{
    Run weight = slice(&pass->weights[chunk->tensor], chunk->first, chunk->numel);
    return run_clip_units(run_of(pass, chunk), weight, pass->spans[chunk->tensor].unit, pass->clipping, pass->eps);
}

/* Brock et al. 2021, https://arxiv.org/abs/2102.06171. A unit is scaled while it is in the cache, and never cut. */
bool pass_clip_units(const Span *spans, const Span *weights, int64_t n, double clipping, double eps, Part *parts)
{
    Pass pass = {.visit = visit_units, .spans = spans, .weights = weights, .clipping = clipping, .eps = eps};
    for (int64_t tensor = 0; tensor < n; tensor++) {
        int64_t unit = spans[tensor].unit; /* 0 if there are no elements */
        int64_t length = unit > CHUNK || !unit ? unit : CHUNK / unit * unit;
        cut(&pass, tensor, 0, length, length);
    }
    return run_pass(&pass, parts);
}

static void count_chunks(int64_t begin, int64_t end, void *context)
{
    (void)begin, (void)end;
    Pass *pass = context;
    int64_t counts[LANES][BINS] = {0};
    Share share = {0};
    for (const Chunk *chunk; (chunk = take(pass, &share));)
        run_count_exponents(run_of(pass, chunk), counts);
    for (int lane = 0; lane < LANES; lane++)
        for (int bin = 0; bin < BINS; bin++)
            atomic_fetch_add_explicit(&pass->counts[bin], counts[lane][bin], memory_order_relaxed);
}

/* Blocks are numbered through all tensors, so that small ones weigh no more than large ones. */
bool pass_count_exponents(const Span *spans, int64_t n, int64_t every, int64_t counts[BINS])
{
    Pass pass = {.spans = spans};
    int64_t blocks = 0;
    for (int64_t tensor = 0; tensor < n; tensor++) {
        int64_t skipped = (every - blocks % every) % every;
        cut(&pass, tensor, skipped * SAMPLE, SAMPLE, every * SAMPLE);
        blocks += (spans[tensor].run.numel + SAMPLE - 1) / SAMPLE;
    }
    if (!pass.out_of_memory)
        in_parallel(&pass, count_chunks);
    for (int bin = 0; bin < BINS; bin++)
        counts[bin] = pass.counts[bin];
    free(pass.chunks);
    return !pass.out_of_memory;
}
