/* bfloat16 and float16 to float and back, in bits: every processor does this alike. Rounding is to nearest even. */

typedef uint16_t stored_16 __attribute__((aligned(1), may_alias));

static INLINE float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static INLINE uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static INLINE float from_bfloat16(uint16_t x)
{
    return float_of((uint32_t)x << 16);
}

static INLINE uint16_t to_bfloat16(float x)
{
    uint32_t bits = bits_of(x);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    uint32_t nan = bits >> 16 | 0x40; /* is one still without its low bits */
    return (uint16_t)((bits & INT32_MAX) > 0x7f800000 ? nan : rounded);
}

static INLINE float from_float16(uint16_t x)
{
    uint32_t key = x & 0x7fff, sign = (uint32_t)(x & 0x8000) << 16;
    uint32_t normal = (key << 13) + ((key >= 0x7c00 ? 224u : 112u) << 23); /* float's bias; infinity and NaN to the top */
    uint32_t subnormal = bits_of((float)(int32_t)key * 0x1p-24f); /* right even where the processor flushes float's own */
    return float_of((key < 0x400 ? subnormal : normal) | sign);
}

static INLINE uint16_t to_float16(float x)
{
    uint32_t bits = bits_of(x), key = bits & INT32_MAX;
    uint32_t normal = (key - (112u << 23) + 0xfff + (key >> 13 & 1)) >> 13;
    uint32_t subnormal = bits_of(float_of(key) + 0.5f) - bits_of(0.5f); /* floats at 0.5 lie as far apart, so this rounds */
    uint32_t finite = key < 113u << 23 ? subnormal : normal;
    uint32_t special = key > 0x7f800000 ? 0x7e00 : 0x7c00;
    return (uint16_t)((key >= 143u << 23 ? special : finite) | (bits >> 16 & 0x8000));
}

CLONES static void widen_bfloat16(const stored_16 *from, float *to, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = from_bfloat16(from[i]);
}

CLONES static void widen_float16(const stored_16 *from, float *to, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = from_float16(from[i]);
}

/* The two below multiply first, in float. */
CLONES static void narrow_bfloat16(const float *from, float coef, stored_16 *to, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = to_bfloat16(from[i] * coef);
}

CLONES static void narrow_float16(const float *from, float coef, stored_16 *to, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = to_float16(from[i] * coef);
}
