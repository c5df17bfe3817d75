/* The extension module clipcore.kernels._cpu: reads where tensors are, and runs the passes without the GIL.

   torch is reached through its C functions alone, looked up at run time. So this compiles without torch's headers, in
   less than a second, and one build serves every torch that has the functions. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <math.h>

#include "cpu.h"

enum { POWER_INFINITY, POWER_ONE, POWER_TWO }; /* cpu.py sends these for p */

/* A pointer to an at::Tensor, which is itself one pointer, to the TensorImpl. Functions return 0 for success. */
typedef void *Handle;

static struct {
    int32_t (*get_data_ptr)(Handle, void **);
    int32_t (*get_dim)(Handle, int64_t *);
    int32_t (*get_sizes)(Handle, int64_t **);
    int32_t (*get_strides)(Handle, int64_t **);
    int32_t (*get_dtype)(Handle, int32_t *);
    int32_t (*get_device_type)(Handle, int32_t *);
    int32_t (*get_layout)(Handle, int32_t *);
    int32_t (*cpu)(void), (*strided)(void), (*dtypes[4])(void);
    PyTypeObject *tensor_type, *parameter_type;
    PyObject *cdata, *grad, *is_leaf, *version; /* descriptors of Tensor's attributes */
    bool impl_follows_head; /* whether the pointer to the TensorImpl is where struct THPVariable has it in torch 2.13 */
} torch;

static const struct {
    const char *name;
    void *function;
} NEEDED[] = {
    {"aoti_torch_get_data_ptr", &torch.get_data_ptr},
    {"aoti_torch_get_dim", &torch.get_dim},
    {"aoti_torch_get_sizes", &torch.get_sizes},
    {"aoti_torch_get_strides", &torch.get_strides},
    {"aoti_torch_get_dtype", &torch.get_dtype},
    {"aoti_torch_get_device_type", &torch.get_device_type},
    {"aoti_torch_get_layout", &torch.get_layout},
    {"aoti_torch_device_type_cpu", &torch.cpu},
    {"aoti_torch_layout_strided", &torch.strided},
    {"aoti_torch_dtype_float32", &torch.dtypes[FLOAT32]},
    {"aoti_torch_dtype_float64", &torch.dtypes[FLOAT64]},
    {"aoti_torch_dtype_bfloat16", &torch.dtypes[BFLOAT16]},
    {"aoti_torch_dtype_float16", &torch.dtypes[FLOAT16]},
};

static const struct {
    const char *name;
    PyObject **descriptor;
} ATTRIBUTES[] = {
    {"_cdata", &torch.cdata},
    {"grad", &torch.grad},
    {"is_leaf", &torch.is_leaf},
    {"_version", &torch.version},
};

/* An attribute of a tensor, without looking up anew what its type means by that name. */
static PyObject *get(PyObject *descriptor, PyObject *tensor)
{
    return Py_TYPE(descriptor)->tp_descr_get(descriptor, tensor, (PyObject *)Py_TYPE(tensor));
}

static void *impl_by_attribute(PyObject *tensor)
{
    PyObject *cdata = get(torch.cdata, tensor);
    void *impl = cdata ? PyLong_AsVoidPtr(cdata) : NULL;
    Py_XDECREF(cdata);
    PyErr_Clear();
    return impl;
}

static void *impl_behind_head(PyObject *tensor)
{
    void *impl;
    memcpy(&impl, (char *)tensor + sizeof(PyObject), sizeof impl);
    return impl;
}

static bool find_functions(const char *path)
{
    void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (!library)
        return PyErr_Format(PyExc_ImportError, "%s is not loaded", path);
    for (size_t i = 0; i < sizeof NEEDED / sizeof *NEEDED; i++) {
        void *address = dlsym(library, NEEDED[i].name);
        if (!address)
            return PyErr_Format(PyExc_ImportError, "this torch has no %s", NEEDED[i].name);
        memcpy(NEEDED[i].function, &address, sizeof address);
    }
    void *parallel = dlsym(library, "torch_parallel_for"), *count = dlsym(library, "torch_get_num_threads");
    if (parallel && count) {
        memcpy(&pool.parallel_for, &parallel, sizeof parallel);
        memcpy(&pool.get_num_threads, &count, sizeof count);
    }
    return true;
}

static bool find_attributes(PyObject *tensor_type)
{
    for (size_t i = 0; i < sizeof ATTRIBUTES / sizeof *ATTRIBUTES; i++) {
        PyObject *descriptor = PyObject_GetAttrString(tensor_type, ATTRIBUTES[i].name);
        if (!descriptor || !Py_TYPE(descriptor)->tp_descr_get)
            return PyErr_Format(PyExc_ImportError, "this torch's tensors have no attribute %s", ATTRIBUTES[i].name);
        *ATTRIBUTES[i].descriptor = descriptor;
    }
    return true;
}

PyDoc_STRVAR(bind_doc, "bind(library, tensor, parameter) -> bool\n\n"
                       "Look up torch's C functions in a loaded library and those it depends on. Returns whether torch's\n"
                       "thread pool was found. Raises ImportError when something is missing that nothing works without.");

static PyObject *py_bind(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    PyObject *tensor, *parameter;
    if (!PyArg_ParseTuple(args, "sOO:bind", &path, &tensor, &parameter) || !find_functions(path) ||
        !find_attributes((PyObject *)Py_TYPE(tensor)))
        return NULL;
    torch.tensor_type = (PyTypeObject *)Py_NewRef(Py_TYPE(tensor));
    torch.parameter_type = (PyTypeObject *)Py_NewRef(Py_TYPE(parameter));
    torch.impl_follows_head = impl_behind_head(tensor) == impl_by_attribute(tensor) &&
                              impl_behind_head(parameter) == impl_by_attribute(parameter);
    return PyBool_FromLong(pool.parallel_for != NULL);
}

/* Whether strides are those of a contiguous tensor with its dimensions in some order. If that order begins with
   dimension 0, each of its slices is a run of memory too: *unit is how many elements it has. Else *unit is 0. */
static bool is_dense(int64_t dims, const int64_t *sizes, const int64_t *strides, int64_t numel, int64_t *unit)
{
    uint64_t seen = 0;
    int64_t expected = 1, dim;
    while (expected < numel) {
        for (dim = dims - 1; dim >= 0; dim--)
            if (!(seen >> dim & 1) && sizes[dim] > 1 && strides[dim] == expected)
                break;
        if (dim < 0)
            return false;
        seen |= 1ull << dim;
        expected *= sizes[dim];
    }
    bool rows = dims > 1 && sizes[0] > 1 && numel;
    *unit = !rows ? numel : strides[0] * sizes[0] == numel ? strides[0] : 0;
    return true;
}

/* False for whatever is not plain dense memory of a known type: eager takes those. */
static bool read_span(PyObject *tensor, Span *span)
{
    if (Py_TYPE(tensor) != torch.tensor_type && Py_TYPE(tensor) != torch.parameter_type)
        return false; /* a subclass may be anything: fake, distributed, a wrapper */
    void *impl = torch.impl_follows_head ? impl_behind_head(tensor) : impl_by_attribute(tensor), *data;
    Handle handle = &impl;
    int32_t device, layout, dtype;
    int64_t dims, *sizes, *strides, numel = 1;
    if (!impl || torch.get_device_type(handle, &device) || device != torch.cpu() ||
        torch.get_layout(handle, &layout) || layout != torch.strided() || torch.get_dtype(handle, &dtype) ||
        torch.get_dim(handle, &dims) || dims > 64 || torch.get_sizes(handle, &sizes) ||
        torch.get_strides(handle, &strides) || torch.get_data_ptr(handle, &data))
        return false;
    Kind kind = FLOAT32;
    while (kind <= FLOAT16 && torch.dtypes[kind]() != dtype)
        kind++;
    for (int64_t dim = 0; dim < dims; dim++)
        numel *= sizes[dim];
    *span = (Span){{kind, data, numel}, numel};
    return kind <= FLOAT16 && (data || !numel) && is_dense(dims, sizes, strides, numel, &span->unit);
}

/* The tensors of one call, held while the GIL is not. */
typedef struct {
    PyObject *tensors; /* a tuple */
    Py_ssize_t n;
    Span *spans; /* of no elements where a tensor is left to the eager kernels */
    bool *left;
    Part *parts; /* what the pass finds */
} Table;

static void table_close(Table *table)
{
    PyMem_Free(table->spans);
    PyMem_Free(table->left);
    PyMem_Free(table->parts);
    Py_CLEAR(table->tensors);
}

static void leave(Table *table, Py_ssize_t i)
{
    table->left[i] = true;
    table->spans[i] = (Span){.unit = 1};
}

static bool table_hold(Table *table, PyObject *tensors)
{
    *table = (Table){.tensors = PySequence_Tuple(tensors)};
    if (!table->tensors)
        return false;
    table->n = PyTuple_GET_SIZE(table->tensors);
    table->spans = PyMem_Calloc((size_t)table->n, sizeof *table->spans);
    table->left = PyMem_Calloc((size_t)table->n, sizeof *table->left);
    table->parts = PyMem_Calloc((size_t)table->n, sizeof *table->parts);
    if (!table->spans || !table->left || !table->parts) {
        table_close(table);
        PyErr_NoMemory();
        return false;
    }
    return true;
}

/* Reads where the tensors are; not of those whose coefficient is 1, if there are coefficients. */
static void table_read(Table *table, const double *coef)
{
    for (Py_ssize_t i = 0; i < table->n; i++)
        if (!(coef && coef[i] == 1.0) && !read_span(PyTuple_GET_ITEM(table->tensors, i), &table->spans[i]))
            leave(table, i);
}

static bool table_open(Table *table, PyObject *tensors)
{
    if (!table_hold(table, tensors))
        return false;
    table_read(table, NULL);
    return true;
}

static bool append_new(PyObject *list, PyObject *item)
{
    bool appended = item && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return appended;
}

/* The result of every pass: (positions that were left, tensors that were written). Closes the table. */
static PyObject *result_of(Table *table, bool done)
{
    if (!done && !PyErr_Occurred())
        PyErr_NoMemory();
    PyObject *left = PyList_New(0), *written = PyList_New(0), *result = NULL;
    done = done && left && written;
    for (Py_ssize_t i = 0; done && i < table->n; i++) {
        if (table->left[i])
            done = append_new(left, PyLong_FromSsize_t(i));
        else if (table->parts[i].changed)
            done = PyList_Append(written, PyTuple_GET_ITEM(table->tensors, i)) == 0;
    }
    if (done)
        result = PyTuple_Pack(2, left, written);
    Py_XDECREF(left);
    Py_XDECREF(written);
    table_close(table);
    return result;
}

/* Points at the memory of a float64 tensor of exactly `numel` elements; or sets an error and returns false. */
static bool doubles(PyObject *tensor, int64_t numel, double **data)
{
    Span span;
    if (read_span(tensor, &span) && span.run.kind == FLOAT64 && span.run.numel == numel) {
        *data = (double *)span.run.data;
        return true;
    }
    PyErr_Format(PyExc_ValueError, "expected a dense float64 tensor of %lld elements on the CPU", (long long)numel);
    return false;
}

static double norm_of(const Tally *tally, int power)
{
    return power == POWER_INFINITY ? tally->largest : power == POWER_ONE ? tally->sum : sqrt(tally->sum);
}

/* Rows of n: norm, largest |x|, non-finite count (int64). */
static void write_before(const Table *table, int power, double *out)
{
    int64_t *nonfinite = (int64_t *)(out + 2 * table->n);
    for (Py_ssize_t i = 0; i < table->n; i++) {
        out[i] = norm_of(&table->parts[i].before, power);
        out[table->n + i] = table->parts[i].before.largest;
        nonfinite[i] = table->parts[i].before.nonfinite;
    }
}

/* Two more rows: norm as written, count of what changed (int64). */
static void write_after(const Table *table, int power, double *out)
{
    int64_t *changed = (int64_t *)(out + 4 * table->n);
    for (Py_ssize_t i = 0; i < table->n; i++) {
        out[3 * table->n + i] = norm_of(&table->parts[i].after, power);
        changed[i] = table->parts[i].changed;
    }
}

PyDoc_STRVAR(measure_doc, "measure(tensors, power, out) -> (left, [])\n\n"
                          "Fill out, (3, n): norm, largest magnitude, non-finite count.");

static PyObject *py_measure(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *tensors, *out;
    int power;
    Table table;
    if (!PyArg_ParseTuple(args, "OiO:measure", &tensors, &power, &out) || !table_open(&table, tensors))
        return NULL;
    bool done = false;
    double *rows;
    if (doubles(out, 3 * table.n, &rows)) {
        Py_BEGIN_ALLOW_THREADS
        done = pass_measure(table.spans, table.n, power == POWER_TWO, table.parts);
        Py_END_ALLOW_THREADS
        write_before(&table, power, rows);
    }
    return result_of(&table, done);
}

PyDoc_STRVAR(scale_doc, "scale(tensors, coef, norm, power, out) -> (left, written)\n\n"
                        "Multiply tensor i by coef[i]; fill out, (n,), with the norms as written: norm[i] where coef[i]\n"
                        "is 1. A negative coefficient fills with zeros.");

static PyObject *py_scale(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *tensors, *coef, *norm, *out;
    int power;
    Table table;
    if (!PyArg_ParseTuple(args, "OOOiO:scale", &tensors, &coef, &norm, &power, &out) || !table_hold(&table, tensors))
        return NULL;
    bool done = false;
    double *coefs, *norms, *row;
    if (doubles(coef, table.n, &coefs) && doubles(norm, table.n, &norms) && doubles(out, table.n, &row)) {
        table_read(&table, coefs);
        Py_BEGIN_ALLOW_THREADS
        done = pass_scale(table.spans, table.n, coefs, power == POWER_TWO, table.parts);
        Py_END_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < table.n; i++)
            row[i] = table.parts[i].changed ? norm_of(&table.parts[i].after, power) : norms[i];
    }
    return result_of(&table, done);
}

PyDoc_STRVAR(clamp_doc, "clamp(tensors, limit, power, out) -> (left, written)\n\n"
                        "Clamp to +-limit; fill out, (5, n): as measure does, then the norm after and the count changed.");

static PyObject *py_clamp(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *tensors, *limit, *out;
    int power;
    Table table;
    if (!PyArg_ParseTuple(args, "OOiO:clamp", &tensors, &limit, &power, &out) || !table_open(&table, tensors))
        return NULL;
    bool done = false;
    double *bound, *rows;
    if (doubles(limit, 1, &bound) && doubles(out, 5 * table.n, &rows)) {
        Py_BEGIN_ALLOW_THREADS
        done = pass_clamp(table.spans, table.n, *bound, power == POWER_TWO, table.parts);
        Py_END_ALLOW_THREADS
        write_before(&table, power, rows);
        write_after(&table, power, rows);
    }
    return result_of(&table, done);
}

/* Leaves the tensors whose units are not runs of memory, or not of the same lengths as their weights'. */
static void match_units(Table *table, const Table *weights)
{
    for (Py_ssize_t i = 0; i < table->n; i++) {
        const Span *span = &table->spans[i], *weight = &weights->spans[i];
        if (weights->left[i] || !span->unit || span->unit != weight->unit || span->run.numel != weight->run.numel)
            leave(table, i);
    }
}

PyDoc_STRVAR(clip_units_doc, "clip_units(tensors, weights, clipping, eps, out) -> (left, written)\n\n"
                             "Scale each unit to at most clipping * max(||its weights||, eps); fill out, (5, n), as clamp does.");

static PyObject *py_clip_units(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *tensors, *weights, *clipping, *eps, *out;
    Table table, weight_table;
    if (!PyArg_ParseTuple(args, "OOOOO:clip_units", &tensors, &weights, &clipping, &eps, &out) ||
        !table_open(&table, tensors))
        return NULL;
    if (!table_open(&weight_table, weights)) {
        table_close(&table);
        return NULL;
    }
    bool done = false;
    double *ratio, *floor, *rows;
    if (table.n != weight_table.n)
        PyErr_SetString(PyExc_ValueError, "expected a weight for each tensor");
    else if (doubles(clipping, 1, &ratio) && doubles(eps, 1, &floor) && doubles(out, 5 * table.n, &rows)) {
        match_units(&table, &weight_table);
        Py_BEGIN_ALLOW_THREADS
        done = pass_clip_units(table.spans, weight_table.spans, table.n, *ratio, *floor, table.parts);
        Py_END_ALLOW_THREADS
        write_before(&table, POWER_TWO, rows);
        write_after(&table, POWER_TWO, rows);
    }
    table_close(&weight_table);
    return result_of(&table, done);
}

PyDoc_STRVAR(count_exponents_doc, "count_exponents(tensors, every, out) -> (left, [])\n\n"
                                  "Fill out, (257,) int64 in a float64 tensor, from one block in `every`.");

static PyObject *py_count_exponents(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *tensors, *out;
    int every;
    Table table;
    if (!PyArg_ParseTuple(args, "OiO:count_exponents", &tensors, &every, &out) || !table_open(&table, tensors))
        return NULL;
    bool done = false;
    double *counts;
    if (every < 1)
        PyErr_Format(PyExc_ValueError, "every must be >= 1, got %d", every);
    else if (doubles(out, BINS, &counts)) {
        Py_BEGIN_ALLOW_THREADS
        done = pass_count_exponents(table.spans, table.n, every, (int64_t *)counts);
        Py_END_ALLOW_THREADS
    }
    return result_of(&table, done);
}

typedef struct {
    const char *begin, *end;
} Stretch;

static int by_address(const void *a, const void *b)
{
    const char *one = ((const Stretch *)a)->begin, *other = ((const Stretch *)b)->begin;
    return (one > other) - (one < other);
}

static bool overlap(Stretch *stretches, size_t n)
{
    qsort(stretches, n, sizeof *stretches, by_address);
    for (size_t i = 1; i < n; i++)
        if (stretches[i].begin < stretches[i - 1].end)
            return true;
    return false;
}

typedef struct {
    PyObject *gradients; /* a list */
    Py_ssize_t *owners;
    Stretch *stretches;
    size_t n; /* of stretches: empty gradients have none */
    long long elements;
    bool has_float64;
} Gathered;

/* Tensors made in inference mode have none, and may be changed in inference mode only. */
static bool has_version(PyObject *tensor)
{
    PyObject *version = get(torch.version, tensor);
    Py_XDECREF(version);
    PyErr_Clear();
    return version != NULL;
}

static bool is_leaf(PyObject *tensor)
{
    if (Py_TYPE(tensor) == torch.parameter_type)
        return true;
    PyObject *leaf = Py_TYPE(tensor) == torch.tensor_type ? get(torch.is_leaf, tensor) : NULL;
    Py_XDECREF(leaf);
    return leaf == Py_True;
}

static bool add_plain(Gathered *all, PyObject *gradient, Py_ssize_t owner)
{
    Span span;
    if (!read_span(gradient, &span) || !has_version(gradient))
        return false;
    if (span.run.numel)
        all->stretches[all->n++] = (Stretch){span.run.data, span.run.data + span.run.numel * size_of(span.run.kind)};
    all->elements += span.run.numel;
    all->has_float64 |= span.run.kind == FLOAT64;
    all->owners[PyList_GET_SIZE(all->gradients)] = owner;
    return PyList_Append(all->gradients, gradient) == 0;
}

/* False when there is an error, or when it takes a closer look. */
static bool gather_one(Gathered *all, PyObject *parameter, Py_ssize_t position)
{
    PyObject *gradient = is_leaf(parameter) ? get(torch.grad, parameter) : NULL;
    bool plain = gradient && (gradient == Py_None || add_plain(all, gradient, position));
    Py_XDECREF(gradient);
    return plain;
}

/* Positions as a list; a range, which costs nothing, when they are 0 .. n - 1. */
static PyObject *owners_of(const Gathered *all, Py_ssize_t n)
{
    Py_ssize_t count = PyList_GET_SIZE(all->gradients);
    if (count == n)
        return PyObject_CallFunction((PyObject *)&PyRange_Type, "n", n);
    PyObject *owners = PyList_New(0);
    for (Py_ssize_t i = 0; owners && i < count; i++)
        if (!append_new(owners, PyLong_FromSsize_t(all->owners[i])))
            Py_CLEAR(owners);
    return owners;
}

PyDoc_STRVAR(gather_doc, "gather(parameters) -> (gradients, owners, elements, has_float64) or None\n\n"
                         "The gradients of leaf parameters, the positions of the parameters that have one, and how many\n"
                         "elements that is; None unless every gradient is memory that the passes take, and no two share any.");

static PyObject *py_gather(PyObject *Py_UNUSED(module), PyObject *sequence)
{
    PyObject *parameters = PySequence_Tuple(sequence), *result = NULL;
    if (!parameters)
        return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(parameters);
    Gathered all = {PyList_New(0), PyMem_New(Py_ssize_t, (size_t)n), PyMem_New(Stretch, (size_t)n), 0, 0, false};
    bool plain = all.gradients && all.owners && all.stretches;
    for (Py_ssize_t i = 0; plain && i < n; i++)
        plain = gather_one(&all, PyTuple_GET_ITEM(parameters, i), i);
    if (plain && !overlap(all.stretches, all.n))
        result = Py_BuildValue("ONLO", all.gradients, owners_of(&all, n), all.elements, all.has_float64 ? Py_True : Py_False);
    else if (!PyErr_Occurred())
        result = Py_NewRef(Py_None);
    Py_XDECREF(all.gradients);
    PyMem_Free(all.owners);
    PyMem_Free(all.stretches);
    Py_DECREF(parameters);
    return result;
}

static PyMethodDef METHODS[] = {
    {"bind", py_bind, METH_VARARGS, bind_doc},
    {"measure", py_measure, METH_VARARGS, measure_doc},
    {"scale", py_scale, METH_VARARGS, scale_doc},
    {"clamp", py_clamp, METH_VARARGS, clamp_doc},
    {"clip_units", py_clip_units, METH_VARARGS, clip_units_doc},
    {"gather", py_gather, METH_O, gather_doc},
    {"count_exponents", py_count_exponents, METH_VARARGS, count_exponents_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, .m_name = "_cpu", .m_doc = "Clipping passes over CPU memory.", .m_size = -1, .m_methods = METHODS,
};

PyMODINIT_FUNC PyInit__cpu(void)
{
    return PyModule_Create(&MODULE);
}
