/* The arithmetic on one run of memory. */

#include <math.h>
#include <string.h>

#include "cpu.h"

/* A function compiled for several instruction sets, chosen from when the library is loaded: no special builds. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 12
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE inline __attribute__((always_inline))

enum { BLOCK = 1 << 11 }; /* elements worked on at a time where a second look must find them in the L1 cache */

typedef struct {
    double sum, largest;
} Sums;

typedef struct {
    double sum;
    int64_t changed;
} Clamped;

typedef float stored_f32 __attribute__((aligned(1), may_alias));
#define REAL float
#define STORED stored_f32
#define BITS int32_t
#define MAGNITUDE INT32_MAX
#define INFINITE 0x7f800000
#define LOOP(name) f32_##name
#define f32_with_sign copysignf
#include "cpu_loops.h"

typedef double stored_f64 __attribute__((aligned(1), may_alias));
#define REAL double
#define STORED stored_f64
#define BITS int64_t
#define MAGNITUDE INT64_MAX
#define INFINITE 0x7ff0000000000000
#define LOOP(name) f64_##name
#define f64_with_sign copysign
#include "cpu_loops.h"

#include "cpu_halves.h"

/* A block's elements in the precision to compute in. */
typedef union {
    float f32[BLOCK];
    double f64[BLOCK];
} Buffer;

int64_t size_of(Kind kind)
{
    return kind == FLOAT64 ? 8 : kind == FLOAT32 ? 4 : 2;
}

double larger(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

static Run block_at(Run run, int64_t first)
{
    int64_t left = run.numel - first;
    return (Run){run.kind, run.data + first * size_of(run.kind), left < BLOCK ? left : BLOCK};
}

/* The elements of a block that is not float64 as floats: where they are if they are floats, else in the buffer. */
static const stored_f32 *widened(Run block, Buffer *buffer)
{
    if (block.kind == FLOAT32)
        return (const stored_f32 *)block.data;
    if (block.kind == BFLOAT16)
        widen_bfloat16((const stored_16 *)block.data, buffer->f32, block.numel);
    else
        widen_float16((const stored_16 *)block.data, buffer->f32, block.numel);
    return buffer->f32;
}

/* Writes the floats of a half-precision block, times a coefficient. */
static void narrow(const float *x, double coef, Run block)
{
    if (block.kind == BFLOAT16)
        narrow_bfloat16(x, (float)coef, (stored_16 *)block.data, block.numel);
    else
        narrow_float16(x, (float)coef, (stored_16 *)block.data, block.numel);
}

static Sums measure_block(Run block, bool square)
{
    Buffer buffer;
    if (block.kind == FLOAT64)
        return f64_measure((const stored_f64 *)block.data, block.numel, square);
    return f32_measure(widened(block, &buffer), block.numel, square);
}

static Sums scale_block(Run block, double coef, bool square)
{
    Buffer buffer;
    if (block.kind == FLOAT64)
        return f64_scale((stored_f64 *)block.data, block.numel, coef, square);
    if (block.kind == FLOAT32)
        return f32_scale((stored_f32 *)block.data, block.numel, (float)coef, square);
    widened(block, &buffer);
    narrow(buffer.f32, coef, block);
    return measure_block(block, square); /* what rounding has left */
}

static int64_t count_nonfinite(Run block)
{
    Buffer buffer;
    if (block.kind == FLOAT64)
        return f64_count_nonfinite((const stored_f64 *)block.data, block.numel);
    return f32_count_nonfinite(widened(block, &buffer), block.numel);
}

static void add(Tally *tally, Sums sums)
{
    tally->sum += sums.sum;
    tally->largest = larger(tally->largest, sums.largest);
}

/* Adds what a block held, while it still holds it: NaN and infinity are counted only where there are some. */
static void add_read(Tally *tally, Run block, Sums sums)
{
    add(tally, sums);
    if (!isfinite(sums.largest))
        tally->nonfinite += count_nonfinite(block);
}

void run_measure(Run run, bool square, Tally *tally)
{
    for (int64_t first = 0; first < run.numel; first += BLOCK) {
        Run block = block_at(run, first);
        add_read(tally, block, measure_block(block, square));
    }
}

void run_scale(Run run, double coef, bool square, Tally *tally)
{
    for (int64_t first = 0; first < run.numel; first += BLOCK)
        add(tally, scale_block(block_at(run, first), coef, square));
}

static double rounded_to(Kind kind, double value)
{
    float single = (float)value;
    return kind == FLOAT64    ? value
           : kind == BFLOAT16 ? from_bfloat16(to_bfloat16(single))
           : kind == FLOAT16  ? from_float16(to_float16(single))
                              : single;
}

/* By way of a buffer: infinities are counted before they are gone, and what does not change is not written. */
static void clamp_block(Run block, double limit, bool square, Part *part)
{
    Buffer out;
    Clamped clamped;
    Sums read = block.kind == FLOAT64
                    ? f64_clamp((const stored_f64 *)block.data, out.f64, block.numel, limit, square, &clamped)
                    : f32_clamp(widened(block, &out), out.f32, block.numel, (float)limit, square, &clamped);
    add_read(&part->before, block, read);
    add(&part->after, (Sums){clamped.sum, read.largest > limit ? limit : read.largest});
    part->changed += clamped.changed;
    if (!clamped.changed)
        return;
    if (size_of(block.kind) == 2)
        narrow(out.f32, 1.0, block);
    else
        memcpy(block.data, &out, (size_t)(block.numel * size_of(block.kind)));
}

/* Whether the block has nothing to clamp; if so, it is accounted for. */
static bool measured_within(Run block, double limit, bool square, Part *part)
{
    Sums read = measure_block(block, square);
    if (!(read.largest <= limit))
        return false;
    add_read(&part->before, block, read);
    add(&part->after, read);
    return true;
}

/* Measuring is twice as fast as clamping, so it comes first where the block before had nothing to clamp. */
void run_clamp(Run run, double limit, bool square, Part *part)
{
    limit = rounded_to(run.kind, limit);
    bool likely = false;
    for (int64_t first = 0; first < run.numel; first += BLOCK) {
        Run block = block_at(run, first);
        int64_t changed = part->changed;
        if (likely || !measured_within(block, limit, square, part))
            clamp_block(block, limit, square, part);
        likely = part->changed > changed;
    }
}

/* The float32 exponent of each element; returns how many elements are zero, whose exponent is 0 too. */
CLONES static int32_t exponents_of(const stored_f32 *x, uint8_t *exponents, int64_t n)
{
    int32_t zeros = 0;
#pragma omp simd reduction(+ : zeros)
    for (int64_t i = 0; i < n; i++) {
        int32_t key = f32_key(x[i]);
        zeros += key == 0;
        exponents[i] = (uint8_t)(key >> 23);
    }
    return zeros;
}

static const stored_f32 *singles(Run block, Buffer *buffer)
{
    if (block.kind != FLOAT64)
        return widened(block, buffer);
    for (int64_t i = 0; i < block.numel; i++)
        buffer->f32[i] = (float)((const stored_f64 *)block.data)[i];
    return buffer->f32;
}

/* One table after the other, because equal bytes in a row would wait for each other in one. */
static void count_bytes(const uint8_t *bytes, int64_t n, int64_t counts[LANES][BINS])
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            counts[lane][bytes[i + lane]]++;
    for (; i < n; i++)
        counts[0][bytes[i]]++;
}

void run_count_exponents(Run run, int64_t counts[LANES][BINS])
{
    Buffer buffer;
    uint8_t exponents[BLOCK];
    for (int64_t first = 0; first < run.numel; first += BLOCK) {
        Run block = block_at(run, first);
        int32_t zeros = exponents_of(singles(block, &buffer), exponents, block.numel);
        count_bytes(exponents, block.numel, counts);
        counts[0][0] -= zeros;
        counts[0][ZERO_BIN] += zeros;
    }
}
