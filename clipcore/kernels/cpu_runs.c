/* The arithmetic on one run of memory. */

#include <math.h>
#include <string.h>

#include "cpu.h"

/* A function compiled for several instruction sets, chosen from when the library is loaded: no special builds. Older
   compilers know the sets by single features only, which leaves a little speed unused. */
#if !defined(__x86_64__) || !defined(__GLIBC__)
#define CLONES
#elif __clang_major__ >= 18 || (!defined(__clang__) && __GNUC__ >= 12)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#define INLINE inline __attribute__((always_inline)) /* rows may be so short that calls would cost as much as they do */

enum { AHEAD = 8192 }; /* bytes; 4 and 16 KiB do as well */

/* Asks for the tile of 512 bytes that lies AHEAD, since a processor's own look ahead ends with the page: passes over
   large tensors take 10 to 15 % less time. Wherever it lies, this cannot fail. */
static INLINE void fetch_ahead(const void *tile, const bool write)
{
    for (int line = 0; line < 8; line++) {
        const void *address = (const void *)((uintptr_t)tile + AHEAD + 64 * (uintptr_t)line);
        if (write)
            __builtin_prefetch(address, 1);
        else
            __builtin_prefetch(address, 0);
    }
}

typedef float stored_f32 __attribute__((aligned(1), may_alias));
#define REAL float
#define STORED stored_f32
#define BITS int32_t
#define MAGNITUDE INT32_MAX
#define INFINITE 0x7f800000
#define WIDTH 16
#define SAFE_ABOVE 0x1p-40f /* squares that are lost beside this one's do not matter */
#define SAFE_BELOW 0x1p62f  /* eight squares stay below the largest float */
#define LOOP(name) f32_##name
#define f32_with_sign copysignf
#include "cpu_loops.h"

typedef double stored_f64 __attribute__((aligned(1), may_alias));
#define REAL double
#define STORED stored_f64
#define BITS int64_t
#define MAGNITUDE INT64_MAX
#define INFINITE 0x7ff0000000000000
#define WIDTH 8
#define SAFE_ABOVE 0.0
#define SAFE_BELOW (double)INFINITY
#define LOOP(name) f64_##name
#define f64_with_sign copysign
#include "cpu_loops.h"

#include "cpu_halves.h"

enum { BLOCK = 1 << 13 }; /* bytes worked on at a time: three times as many fit the L1 cache, where they are read again */

/* A block's elements in the precision to compute in. */
typedef union {
    float f32[BLOCK / sizeof(float)];
    double f64[BLOCK / sizeof(double)];
} Buffer;

int64_t size_of(Kind kind)
{
    return kind == FLOAT64 ? 8 : kind == FLOAT32 ? 4 : 2;
}

/* Elements in a block. */
static int64_t block_of(Kind kind)
{
    return BLOCK / (kind == FLOAT64 ? 8 : 4);
}

INLINE void add_tally(Tally *into, Tally more)
{
    into->sum += more.sum;
    into->largest = into->largest > more.largest || isnan(into->largest) ? into->largest : more.largest;
    into->nonfinite += more.nonfinite;
}

INLINE void add_part(Part *into, Part more)
{
    add_tally(&into->before, more.before);
    add_tally(&into->after, more.after);
    into->changed += more.changed;
}

static INLINE Run part_of(Run run, int64_t first, int64_t most)
{
    int64_t left = run.numel - first;
    return (Run){run.kind, run.data + first * size_of(run.kind), left < most ? left : most};
}

static INLINE Run block_at(Run run, int64_t first)
{
    return part_of(run, first, block_of(run.kind));
}

/* The elements of a block that is not float64 as floats: where they are if they are floats, else in the buffer. */
static stored_f32 *widened(Run block, Buffer *buffer)
{
    if (block.kind == FLOAT32)
        return (stored_f32 *)block.data;
    if (block.kind == BFLOAT16)
        widen_bfloat16((const stored_16 *)block.data, buffer->f32, block.numel);
    else
        widen_float16((const stored_16 *)block.data, buffer->f32, block.numel);
    return buffer->f32;
}

/* Writes a half-precision block from the buffer, times a coefficient. Others are worked on where they are. */
static void narrow(const Buffer *buffer, double coef, Run block)
{
    if (block.kind == BFLOAT16)
        narrow_bfloat16(buffer->f32, (float)coef, (stored_16 *)block.data, block.numel);
    else if (block.kind == FLOAT16)
        narrow_float16(buffer->f32, (float)coef, (stored_16 *)block.data, block.numel);
}

static INLINE Tally measure_block(Run block, bool square)
{
    Buffer buffer;
    if (block.kind == FLOAT64)
        return f64_measure((stored_f64 *)block.data, block.numel, square);
    return f32_measure(widened(block, &buffer), block.numel, square);
}

static INLINE Tally scale_block(Run block, double coef, bool square)
{
    Buffer buffer;
    if (block.kind == FLOAT64)
        return f64_scale((stored_f64 *)block.data, block.numel, coef, square);
    if (block.kind == FLOAT32)
        return f32_scale((stored_f32 *)block.data, block.numel, (float)coef, square);
    widened(block, &buffer);
    narrow(&buffer, coef, block);
    return measure_block(block, square); /* what rounding has left */
}

/* Elements taken at a time where they are read once: a block of halves, which are widened into a buffer, and of others as
   many as are surely counted in 32 bits. */
static INLINE int64_t stretch_of(Kind kind)
{
    return kind == BFLOAT16 || kind == FLOAT16 ? block_of(kind) : 1 << 30;
}

INLINE Tally run_measure(Run run, bool square)
{
    int64_t length = stretch_of(run.kind);
    Tally all = measure_block(part_of(run, 0, length), square);
    for (int64_t first = length; first < run.numel; first += length)
        add_tally(&all, measure_block(part_of(run, first, length), square));
    return all;
}

INLINE Tally run_scale(Run run, double coef, bool square)
{
    int64_t length = stretch_of(run.kind);
    Tally all = scale_block(part_of(run, 0, length), coef, square);
    for (int64_t first = length; first < run.numel; first += length)
        add_tally(&all, scale_block(part_of(run, first, length), coef, square));
    return all;
}

static double rounded_to(Kind kind, double value)
{
    float single = (float)value;
    return kind == FLOAT64    ? value
           : kind == BFLOAT16 ? from_bfloat16(to_bfloat16(single))
           : kind == FLOAT16  ? from_float16(to_float16(single))
                              : single;
}

static Part clamp_block(Run block, double limit, bool square)
{
    Buffer buffer, saved;
    Part part = block.kind == FLOAT64
                    ? f64_clamp((stored_f64 *)block.data, block.numel, limit, saved.f64, square)
                    : f32_clamp(widened(block, &buffer), block.numel, (float)limit, saved.f32, square);
    if (part.changed)
        narrow(&buffer, 1.0, block);
    return part;
}

/* A block where the one before had nothing to clamp is measured first, which is quicker and writes nothing. */
Part run_clamp(Run run, double limit, bool square)
{
    limit = rounded_to(run.kind, limit);
    Part all = {0};
    int64_t changed = 0; /* of the block before */
    for (int64_t first = 0; first < run.numel; first += block_of(run.kind)) {
        Run block = block_at(run, first);
        Tally read = changed ? (Tally){0} : measure_block(block, square);
        Part part = {.before = read, .after = read};
        if (changed || !(read.largest <= limit))
            part = clamp_block(block, limit, square);
        changed = part.changed;
        add_part(&all, part);
    }
    return all;
}

static Part clip_unit(Run unit, Run weight, double clipping, double eps)
{
    Tally read = run_measure(unit, true);
    double norm = sqrt(read.sum), weight_norm = sqrt(run_measure(weight, true).sum);
    double bound = clipping * (weight_norm < eps ? eps : weight_norm); /* a NaN bounds nothing */
    if (norm > bound)
        return (Part){read, run_scale(unit, bound / (norm < 1e-6 ? 1e-6 : norm), true), 1};
    return (Part){read, read, 0};
}

Part run_clip_units(Run run, Run weight, int64_t unit, double clipping, double eps)
{
    Part all = {0};
    for (int64_t first = 0; first < run.numel; first += unit)
        add_part(&all, clip_unit(part_of(run, first, unit), part_of(weight, first, unit), clipping, eps));
    return all;
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

static stored_f32 *singles(Run block, Buffer *buffer)
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
    uint8_t exponents[BLOCK / sizeof(float)];
    for (int64_t first = 0; first < run.numel; first += block_of(run.kind)) {
        Run block = block_at(run, first);
        int32_t zeros = exponents_of(singles(block, &buffer), exponents, block.numel);
        count_bytes(exponents, block.numel, counts);
        counts[0][0] -= zeros;
        counts[0][ZERO_BIN] += zeros;
    }
}
