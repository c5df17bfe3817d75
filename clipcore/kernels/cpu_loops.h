/* The innermost loops, included once for float and once for double.

   Needs REAL (the type), STORED (the same at any address), BITS (the signed integer of its width), MAGNITUDE (all bits
   but the sign), INFINITE (the bits of infinity) and LOOP(name) (a name of this type's own).

   Magnitudes are ordered as integers: the order is that of the values with NaN above infinity, and it vectorises where
   comparisons that honour NaN would not. Sums are double, so float32 neither overflows nor loses its small elements.
   `square` is a constant in every instance of a loop: a loop split in two by a variable would stay scalar. */

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

static INLINE Sums LOOP(measure_by)(const STORED *x, int64_t n, const bool square)
{
    double sum = 0.0;
    BITS top = 0;
#pragma omp simd reduction(+ : sum) reduction(max : top)
    for (int64_t i = 0; i < n; i++) {
        BITS key = LOOP(key)(x[i]);
        double magnitude = LOOP(value)(key);
        sum += square ? magnitude * magnitude : magnitude;
        top = key > top ? key : top;
    }
    return (Sums){sum, LOOP(value)(top)};
}

CLONES static Sums LOOP(measure)(const STORED *x, int64_t n, bool square)
{
    return square ? LOOP(measure_by)(x, n, true) : LOOP(measure_by)(x, n, false);
}

static INLINE Sums LOOP(scale_by)(STORED *x, int64_t n, REAL coef, const bool square)
{
    double sum = 0.0;
    BITS top = 0;
#pragma omp simd reduction(+ : sum) reduction(max : top)
    for (int64_t i = 0; i < n; i++) {
        REAL product = x[i] * coef;
        x[i] = product;
        BITS key = LOOP(key)(product);
        double magnitude = LOOP(value)(key);
        sum += square ? magnitude * magnitude : magnitude;
        top = key > top ? key : top;
    }
    return (Sums){sum, LOOP(value)(top)};
}

/* Multiplies; returns what is known of the products. */
CLONES static Sums LOOP(scale)(STORED *x, int64_t n, REAL coef, bool square)
{
    return square ? LOOP(scale_by)(x, n, coef, true) : LOOP(scale_by)(x, n, coef, false);
}

static INLINE Sums LOOP(clamp_by)(const STORED *x, REAL *out, int64_t n, REAL limit, const bool square, Clamped *clamped)
{
    double sum = 0.0, written = 0.0;
    BITS top = 0, changed = 0;
#pragma omp simd reduction(+ : sum, written, changed) reduction(max : top)
    for (int64_t i = 0; i < n; i++) {
        REAL value = x[i];
        BITS key = LOOP(key)(value);
        REAL magnitude = LOOP(value)(key);
        REAL bounded = limit < magnitude ? limit : magnitude; /* false for NaN, which stays */
        out[i] = LOOP(with_sign)(bounded, value);
        changed += magnitude > limit;
        top = key > top ? key : top;
        sum += square ? (double)magnitude * magnitude : (double)magnitude;
        written += square ? (double)bounded * bounded : (double)bounded;
    }
    *clamped = (Clamped){written, changed};
    return (Sums){sum, LOOP(value)(top)};
}

/* Clamps x into `out`, which may be x; returns what is known of x, and of `out` in `clamped`. */
CLONES static Sums LOOP(clamp)(const STORED *x, REAL *out, int64_t n, REAL limit, bool square, Clamped *clamped)
{
    return square ? LOOP(clamp_by)(x, out, n, limit, true, clamped) : LOOP(clamp_by)(x, out, n, limit, false, clamped);
}

CLONES static int64_t LOOP(count_nonfinite)(const STORED *x, int64_t n)
{
    BITS count = 0;
#pragma omp simd reduction(+ : count)
    for (int64_t i = 0; i < n; i++)
        count += LOOP(key)(x[i]) >= INFINITE;
    return count;
}

#undef REAL
#undef STORED
#undef BITS
#undef MAGNITUDE
#undef INFINITE
#undef LOOP
