/* The extension module clipcore.kernels._cpu: the passes for Python, without the GIL. */

#include "cpu_tensors.h"
#include "cpu_torch.h"

#include <math.h>

enum { POWER_INFINITY, POWER_ONE, POWER_TWO }; /* cpu.py sends these for p */

/* The tensors of one pass, and what it finds of each. */
typedef struct {
    Tensors *tensors;
    const Span *spans;
    Py_ssize_t n;
    Part *parts;
} Job;

static bool job_open(Job *job, PyObject *sequence)
{
    *job = (Job){.tensors = as_tensors(sequence)};
    if (!job->tensors)
        return false;
    job->spans = job->tensors->spans;
    job->n = job->tensors->n;
    job->parts = PyMem_Calloc((size_t)job->n, sizeof *job->parts);
    if (job->parts)
        return true;
    Py_DECREF(job->tensors);
    PyErr_NoMemory();
    return false;
}

/* The positions of the tensors that were left to the eager kernels. */
static PyObject *left_by(const Job *job)
{
    PyObject *left = PyList_New(0);
    for (Py_ssize_t i = 0; left && i < job->n; i++) {
        PyObject *position = job->spans[i].left ? PyLong_FromSsize_t(i) : NULL;
        if (job->spans[i].left && (!position || PyList_Append(left, position) < 0))
            Py_CLEAR(left);
        Py_XDECREF(position);
    }
    return left;
}

static PyObject *written_by(const Job *job)
{
    PyObject *written = PyList_New(0);
    for (Py_ssize_t i = 0; written && i < job->n; i++)
        if (job->parts[i].changed && PyList_Append(written, job->tensors->objects[i]) < 0)
            Py_CLEAR(written);
    return written;
}

/* The result of every pass, if it was done: (positions that were left, tensors that were written). */
static PyObject *job_close(Job *job, bool done)
{
    if (!done && !PyErr_Occurred())
        PyErr_NoMemory();
    PyObject *result = done ? Py_BuildValue("NN", left_by(job), written_by(job)) : NULL;
    PyMem_Free(job->parts);
    Py_DECREF(job->tensors);
    return result;
}

static double norm_of(const Tally *tally, int power)
{
    return power == POWER_INFINITY ? tally->largest : power == POWER_ONE ? tally->sum : sqrt(tally->sum);
}

/* Rows of n: norm, largest |x|, non-finite count (int64). */
static void write_before(const Job *job, int power, double *out)
{
    int64_t *nonfinite = (int64_t *)(out + 2 * job->n);
    for (Py_ssize_t i = 0; i < job->n; i++) {
        out[i] = norm_of(&job->parts[i].before, power);
        out[job->n + i] = job->parts[i].before.largest;
        nonfinite[i] = job->parts[i].before.nonfinite;
    }
}

/* Two more rows: norm as written, count of what changed (int64). */
static void write_after(const Job *job, int power, double *out)
{
    int64_t *changed = (int64_t *)(out + 4 * job->n);
    for (Py_ssize_t i = 0; i < job->n; i++) {
        out[3 * job->n + i] = norm_of(&job->parts[i].after, power);
        changed[i] = job->parts[i].changed;
    }
}

PyDoc_STRVAR(measure_doc, "measure(tensors, power, out) -> (left, [])\n\n"
                          "Fill out, (3, n): norm, largest magnitude, non-finite count.");

static PyObject *py_measure(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *tensors, *out;
    int power;
    Job job;
    if (!PyArg_ParseTuple(args, "OiO:measure", &tensors, &power, &out) || !job_open(&job, tensors))
        return NULL;
    bool done = false;
    double *rows;
    if (doubles(out, 3 * job.n, &rows)) {
        Py_BEGIN_ALLOW_THREADS
        done = pass_measure(job.spans, job.n, power == POWER_TWO, job.parts);
        Py_END_ALLOW_THREADS
        write_before(&job, power, rows);
    }
    return job_close(&job, done);
}

PyDoc_STRVAR(scale_doc, "scale(tensors, coef, norm, power, out) -> (left, written)\n\n"
                        "Multiply tensor i by coef[i], or all by coef, (1,); fill out, (n,), with the norms as written:\n"
                        "norm[i] where the coefficient is 1. A negative coefficient fills with zeros.");

static PyObject *py_scale(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *tensors, *coef, *norm, *out;
    int power;
    Job job;
    if (!PyArg_ParseTuple(args, "OOOiO:scale", &tensors, &coef, &norm, &power, &out) || !job_open(&job, tensors))
        return NULL;
    bool done = false;
    double *coefs, *norms, *row;
    int64_t step;
    if (doubles_of_each(coef, job.n, &coefs, &step) && doubles(norm, job.n, &norms) && doubles(out, job.n, &row)) {
        Py_BEGIN_ALLOW_THREADS
        done = pass_scale(job.spans, job.n, coefs, step, power == POWER_TWO, job.parts);
        Py_END_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < job.n; i++)
            row[i] = job.parts[i].changed ? norm_of(&job.parts[i].after, power) : norms[i];
    }
    return job_close(&job, done);
}

PyDoc_STRVAR(clamp_doc, "clamp(tensors, limit, power, out) -> (left, written)\n\n"
                        "Clamp to +-limit; fill out, (5, n): as measure does, then the norm after and the count changed.");

static PyObject *py_clamp(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *tensors, *limit, *out;
    int power;
    Job job;
    if (!PyArg_ParseTuple(args, "OOiO:clamp", &tensors, &limit, &power, &out) || !job_open(&job, tensors))
        return NULL;
    bool done = false;
    double *bound, *rows;
    if (doubles(limit, 1, &bound) && doubles(out, 5 * job.n, &rows)) {
        Py_BEGIN_ALLOW_THREADS
        done = pass_clamp(job.spans, job.n, *bound, power == POWER_TWO, job.parts);
        Py_END_ALLOW_THREADS
        write_before(&job, power, rows);
        write_after(&job, power, rows);
    }
    return job_close(&job, done);
}

/* The tensors' spans; left are those whose units are not runs of memory, or not as long as their weights'. */
static Span *matched(const Tensors *tensors, const Tensors *weights)
{
    Span *spans = PyMem_New(Span, (size_t)tensors->n);
    for (Py_ssize_t i = 0; spans && i < tensors->n; i++) {
        const Span *span = &tensors->spans[i], *weight = &weights->spans[i];
        bool match = !span->left && !weight->left && span->unit == weight->unit && span->run.numel == weight->run.numel;
        spans[i] = match && (span->unit || !span->run.numel) ? *span : (Span){.left = true};
    }
    return spans;
}

PyDoc_STRVAR(clip_units_doc, "clip_units(tensors, weights, clipping, eps, out) -> (left, written)\n\n"
                             "Scale each unit to at most clipping * max(||its weights||, eps); fill out, (5, n), as clamp does.");

static PyObject *py_clip_units(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *tensors, *weights, *clipping, *eps, *out;
    Job job;
    if (!PyArg_ParseTuple(args, "OOOOO:clip_units", &tensors, &weights, &clipping, &eps, &out) || !job_open(&job, tensors))
        return NULL;
    Tensors *weight = as_tensors(weights);
    Span *spans = NULL;
    bool done = false;
    double *ratio, *floor, *rows;
    if (weight && weight->n != job.n)
        PyErr_SetString(PyExc_ValueError, "expected a weight for each tensor");
    else if (weight && (spans = matched(job.tensors, weight)) && doubles(clipping, 1, &ratio) &&
             doubles(eps, 1, &floor) && doubles(out, 5 * job.n, &rows)) {
        job.spans = spans;
        Py_BEGIN_ALLOW_THREADS
        done = pass_clip_units(spans, weight->spans, job.n, *ratio, *floor, job.parts);
        Py_END_ALLOW_THREADS
        write_before(&job, POWER_TWO, rows);
        write_after(&job, POWER_TWO, rows);
    }
    PyObject *result = job_close(&job, done);
    PyMem_Free(spans);
    Py_XDECREF(weight);
    return result;
}

PyDoc_STRVAR(count_exponents_doc, "count_exponents(tensors, every, out) -> (left, [])\n\n"
                                  "Fill out, (257,) int64 in a float64 tensor, from one block in `every`.");

static PyObject *py_count_exponents(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *tensors, *out;
    int every;
    Job job;
    if (!PyArg_ParseTuple(args, "OiO:count_exponents", &tensors, &every, &out) || !job_open(&job, tensors))
        return NULL;
    bool done = false;
    double *counts;
    if (every < 1)
        PyErr_Format(PyExc_ValueError, "every must be >= 1, got %d", every);
    else if (doubles(out, BINS, &counts)) {
        Py_BEGIN_ALLOW_THREADS
        done = pass_count_exponents(job.spans, job.n, every, (int64_t *)counts);
        Py_END_ALLOW_THREADS
    }
    return job_close(&job, done);
}

static PyMethodDef METHODS[] = {
    {"bind", py_bind, METH_VARARGS, bind_doc},
    {"gather", py_gather, METH_VARARGS, gather_doc},
    {"measure", py_measure, METH_VARARGS, measure_doc},
    {"scale", py_scale, METH_VARARGS, scale_doc},
    {"clamp", py_clamp, METH_VARARGS, clamp_doc},
    {"clip_units", py_clip_units, METH_VARARGS, clip_units_doc},
    {"count_exponents", py_count_exponents, METH_VARARGS, count_exponents_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, .m_name = "_cpu", .m_doc = "Clipping passes over CPU memory.", .m_size = -1, .m_methods = METHODS,
};

PyMODINIT_FUNC PyInit__cpu(void)
{
    return PyType_Ready(&TensorsType) == 0 ? PyModule_Create(&MODULE) : NULL;
}
