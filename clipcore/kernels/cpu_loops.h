/* The innermost loops, included once for float and once for double.

   Needs REAL (the type), STORED (the same at any address), BITS (the signed integer of its width), MAGNITUDE (all bits
   but the sign), INFINITE (the bits of infinity), WIDTH (elements in 64 bytes), SAFE_ABOVE and SAFE_BELOW (see below),
   LOOP(name) (a name of this type's own) and of these LOOP(with_sign).

   Elements are taken by the tile: eight rows of WIDTH lanes, which a compiler turns into eight vectors. Adding up floats
   in double costs more than all the rest, so a lane's eight are added in REAL, four and four, and only their sum in
   double: a norm is off by 3e-7 at the very worst, and by 1e-9 in practice. Where it would overflow or underflow, which
   the largest magnitude tells, all is added up once more, in double. So float32 neither overflows nor loses its small
   elements. What is left of a run in the end is taken as half a tile and row by row; elements that the last row lacks
   count as zeros.

   Magnitudes are ordered as integers: the order is that of the values with NaN above infinity, and it vectorises where
   comparisons that honour NaN would not. `rows`, `scale` and `square` are constants in every instance of a loop: a loop
   split in two by a variable would stay scalar. */

enum { LOOP(TILE) = 8 * WIDTH, LOOP(HALF) = 4 * WIDTH };

static INLINE BITS LOOP(key)(REAL value)
{
    BITS bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & MAGNITUDE;
}

static INLINE REAL LOOP(value)(BITS bits)
{
    REAL value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static INLINE Tally LOOP(measure_in_double)(const STORED *x, int64_t n, const bool square)
{
    double sum = 0.0;
    BITS top = 0, nonfinite = 0;
#pragma omp simd reduction(+ : sum, nonfinite) reduction(max : top)
    for (int64_t i = 0; i < n; i++) {
        BITS key = LOOP(key)(x[i]);
        double magnitude = LOOP(value)(key);
        sum += square ? magnitude * magnitude : magnitude;
        nonfinite += key >= INFINITE;
        top = key > top ? key : top;
    }
    return (Tally){sum, LOOP(value)(top), nonfinite};
}

/* Not one after the other: each would wait for the one before. */
static INLINE double LOOP(total)(const double sums[WIDTH])
{
    double total = 0.0;
    for (int lane = 0; lane < WIDTH; lane += 4)
        total += (sums[lane] + sums[lane + 1]) + (sums[lane + 2] + sums[lane + 3]);
    return total;
}

static INLINE REAL LOOP(largest)(const BITS tops[WIDTH])
{
    BITS top = 0;
    for (int lane = 0; lane < WIDTH; lane++)
        top = tops[lane] > top ? tops[lane] : top;
    return LOOP(value)(top);
}

static INLINE int64_t LOOP(count)(const BITS counts[WIDTH])
{
    BITS count = 0;
    for (int lane = 0; lane < WIDTH; lane++)
        count += counts[lane];
    return count;
}

/* What the lanes say of n elements, unless elements of that size need a second look. */
static INLINE Tally LOOP(judged)(double sum, REAL largest, const STORED *x, int64_t n, const bool square)
{
    if (largest == 0 || (largest > SAFE_ABOVE && largest < SAFE_BELOW))
        return (Tally){sum, largest, 0};
    return LOOP(measure_in_double)(x, n, square);
}

static INLINE void LOOP(scale_tile)(STORED *x, const int rows, int left, REAL coef, const bool scale, const bool square,
                                    double *sums, BITS *tops)
{
#pragma omp simd
    for (int lane = 0; lane < WIDTH; lane++) {
        REAL sum[2] = {0};
        BITS top = tops[lane];
        for (int k = 0; k < rows; k++) {
            int i = k * WIDTH + lane;
            REAL value = i < left ? x[i] : 0;
            if (scale && i < left)
                x[i] = value *= coef;
            BITS key = LOOP(key)(value);
            REAL magnitude = LOOP(value)(key);
            sum[k / 4] += square ? magnitude * magnitude : magnitude;
            top = key > top ? key : top;
        }
        sums[lane] += sum[0] + sum[1];
        tops[lane] = top;
    }
}

static INLINE Tally LOOP(scale_by)(STORED *x, int64_t n, REAL coef, const bool scale, const bool square)
{
    double sums[WIDTH] = {0};
    BITS tops[WIDTH] = {0};
    int64_t i = 0;
    for (; i + LOOP(TILE) <= n; i += LOOP(TILE)) {
        fetch_ahead(x + i, scale);
        LOOP(scale_tile)(x + i, 8, LOOP(TILE), coef, scale, square, sums, tops);
    }
    for (; i + LOOP(HALF) <= n; i += LOOP(HALF))
        LOOP(scale_tile)(x + i, 4, LOOP(HALF), coef, scale, square, sums, tops);
    for (; i + WIDTH <= n; i += WIDTH)
        LOOP(scale_tile)(x + i, 1, WIDTH, coef, scale, square, sums, tops);
    if (i < n)
        LOOP(scale_tile)(x + i, 1, (int)(n - i), coef, scale, square, sums, tops);
    return LOOP(judged)(LOOP(total)(sums), LOOP(largest)(tops), x, n, square);
}

CLONES static Tally LOOP(measure)(STORED *x, int64_t n, bool square)
{
    return square ? LOOP(scale_by)(x, n, 1, false, true) : LOOP(scale_by)(x, n, 1, false, false);
}

/* Multiplies; returns what is known of the products. */
CLONES static Tally LOOP(scale)(STORED *x, int64_t n, REAL coef, bool square)
{
    return square ? LOOP(scale_by)(x, n, coef, true, true) : LOOP(scale_by)(x, n, coef, true, false);
}

static INLINE void LOOP(clamp_tile)(STORED *x, const int rows, int left, REAL limit, REAL *saved, const bool square,
                                    double *before, double *after, BITS *tops, BITS *changed)
{
#pragma omp simd
    for (int lane = 0; lane < WIDTH; lane++) {
        REAL read[2] = {0}, written[2] = {0};
        BITS top = tops[lane], count = changed[lane];
        for (int k = 0; k < rows; k++) {
            int i = k * WIDTH + lane;
            REAL value = i < left ? x[i] : 0;
            BITS key = LOOP(key)(value);
            REAL magnitude = LOOP(value)(key);
            REAL bounded = limit < magnitude ? limit : magnitude; /* false for NaN, which stays */
            saved[i] = value;
            if (i < left)
                x[i] = LOOP(with_sign)(bounded, value);
            count += magnitude > limit;
            top = key > top ? key : top;
            read[k / 4] += square ? magnitude * magnitude : magnitude;
            written[k / 4] += square ? bounded * bounded : bounded;
        }
        before[lane] += read[0] + read[1];
        after[lane] += written[0] + written[1];
        tops[lane] = top;
        changed[lane] = count;
    }
}

static INLINE Part LOOP(clamp_by)(STORED *x, int64_t n, REAL limit, REAL *saved, const bool square)
{
    double before[WIDTH] = {0}, after[WIDTH] = {0};
    BITS tops[WIDTH] = {0}, changed[WIDTH] = {0};
    int64_t i = 0;
    for (; i + LOOP(TILE) <= n; i += LOOP(TILE)) {
        fetch_ahead(x + i, true);
        LOOP(clamp_tile)(x + i, 8, LOOP(TILE), limit, saved + i, square, before, after, tops, changed);
    }
    for (; i + LOOP(HALF) <= n; i += LOOP(HALF))
        LOOP(clamp_tile)(x + i, 4, LOOP(HALF), limit, saved + i, square, before, after, tops, changed);
    for (; i < n; i += WIDTH)
        LOOP(clamp_tile)(x + i, 1, (int)(n - i), limit, saved + i, square, before, after, tops, changed);
    REAL largest = LOOP(largest)(tops), bounded = largest > limit ? limit : largest;
    return (Part){
        .before = LOOP(judged)(LOOP(total)(before), largest, saved, n, square),
        .after = LOOP(judged)(LOOP(total)(after), bounded, x, n, square),
        .changed = LOOP(count)(changed),
    };
}

/* Clamps. The elements before go to `saved`, which has room for whole tiles, for when they need a second look. */
CLONES static Part LOOP(clamp)(STORED *x, int64_t n, REAL limit, REAL *saved, bool square)
{
    return square ? LOOP(clamp_by)(x, n, limit, saved, true) : LOOP(clamp_by)(x, n, limit, saved, false);
}

#undef REAL
#undef STORED
#undef BITS
#undef MAGNITUDE
#undef INFINITE
#undef WIDTH
#undef SAFE_ABOVE
#undef SAFE_BELOW
#undef LOOP
