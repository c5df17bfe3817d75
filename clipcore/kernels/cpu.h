/* The CPU kernels without Python: cpu_runs.c has the arithmetic on one run of memory, cpu_passes.c the same over many
   tensors and threads. (cpu_torch.c finds out where Python's tensors are, and cpu.c is the module.) */

#ifndef CLIPCORE_CPU_H
#define CLIPCORE_CPU_H

#include <stdbool.h>
#include <stdint.h>

enum {
    ZERO_BIN = 256, /* of the exponent histogram: the zeros, after the 256 exponents of float32 */
    BINS = 257,
    LANES = 8, /* tables that it is counted in */
};

typedef enum { FLOAT32, FLOAT64, BFLOAT16, FLOAT16 } Kind;

/* Elements side by side in memory, at any address. */
typedef struct {
    Kind kind;
    char *data;
    int64_t numel;
} Run;

/* What is known of the elements of a run or of a tensor, as read or as written. */
typedef struct {
    double sum;        /* of |x| or of x^2 */
    double largest;    /* |x|; NaN when there is one, which counts as above infinity */
    int64_t nonfinite; /* how many are NaN or infinite */
} Tally;

typedef struct {
    Tally before, after;
    int64_t changed; /* elements clamped, or units scaled */
} Part;

/* cpu_runs.c: on one run. `square` sums squares, else magnitudes. */
Tally run_measure(Run run, bool square);
Tally run_scale(Run run, double coef, bool square);
Part run_clamp(Run run, double limit, bool square);
Part run_clip_units(Run run, Run weight, int64_t unit, double clipping, double eps);
void run_count_exponents(Run run, int64_t counts[LANES][BINS]);
int64_t size_of(Kind kind);
void add_tally(Tally *into, Tally more);
void add_part(Part *into, Part more);

/* A tensor whose elements fill one run of memory, in whatever order its strides put them. */
typedef struct {
    Run run;
    int64_t unit; /* elements of one output row when each row is a run of its own, else 0 */
    bool left;    /* to the eager kernels: it is no such tensor, and has no elements here */
} Span;

/* torch's thread pool; null pointers mean one thread. */
extern struct Pool {
    int32_t (*parallel_for)(int64_t begin, int64_t end, int64_t grain, void (*)(int64_t, int64_t, void *), void *);
    int32_t (*get_num_threads)(uint32_t *);
} pool;

/* cpu_passes.c: over n tensors, adding to one Part for each. False when there is no memory for the chunk table; nothing
   has been read or written then. */
bool pass_measure(const Span *spans, int64_t n, bool square, Part *parts);
bool pass_scale(const Span *spans, int64_t n, const double *coef, int64_t step, bool square, Part *parts);
bool pass_clamp(const Span *spans, int64_t n, double limit, bool square, Part *parts);
bool pass_clip_units(const Span *spans, const Span *weights, int64_t n, double clipping, double eps, Part *parts);
bool pass_count_exponents(const Span *spans, int64_t n, int64_t every, int64_t counts[BINS]);

#endif
