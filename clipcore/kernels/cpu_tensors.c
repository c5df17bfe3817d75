/* torch is reached through its C functions alone, looked up at run time: this compiles without torch's headers, in
   less than a second, and one build serves every torch that has the functions. */

#include "cpu_tensors.h"

#include <dlfcn.h>
#include <stdlib.h>

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
    bool impl_follows_head; /* the pointer to the TensorImpl is where struct THPVariable has it in torch 2.13 */
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
    if (!library) {
        PyErr_Format(PyExc_ImportError, "%s is not loaded", path);
        return false;
    }
    for (size_t i = 0; i < sizeof NEEDED / sizeof *NEEDED; i++) {
        void *address = dlsym(library, NEEDED[i].name);
        if (!address) {
            PyErr_Format(PyExc_ImportError, "this torch has no %s", NEEDED[i].name);
            return false;
        }
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
        if (!descriptor || !Py_TYPE(descriptor)->tp_descr_get) {
            PyErr_Format(PyExc_ImportError, "this torch's tensors have no attribute %s", ATTRIBUTES[i].name);
            return false;
        }
        *ATTRIBUTES[i].descriptor = descriptor;
    }
    return true;
}

const char bind_doc[] = "bind(library, tensor, parameter) -> bool\n\n"
                        "Look up torch's C functions in a loaded library and those it depends on. Returns whether torch's\n"
                        "thread pool was found. Raises ImportError when something is missing that nothing works without.";

PyObject *py_bind(PyObject *Py_UNUSED(module), PyObject *args)
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

/* False for whatever is not plain dense memory of a known type; the span is of no elements then. */
static bool read_span(PyObject *tensor, Span *span)
{
    *span = (Span){.left = true};
    if (Py_TYPE(tensor) != torch.tensor_type && Py_TYPE(tensor) != torch.parameter_type)
        return false; /* a subclass may be anything: fake, distributed, a wrapper */
    void *impl = torch.impl_follows_head ? impl_behind_head(tensor) : impl_by_attribute(tensor), *data;
    Handle handle = &impl;
    int32_t device, layout, dtype;
    int64_t dims, *sizes, *strides, numel = 1, unit;
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
    if (kind > FLOAT16 || (numel && !data) || !is_dense(dims, sizes, strides, numel, &unit))
        return false;
    *span = (Span){{kind, data, numel}, unit, false};
    return true;
}

bool doubles(PyObject *tensor, int64_t numel, double **data)
{
    Span span;
    if (read_span(tensor, &span) && span.run.kind == FLOAT64 && span.run.numel == numel) {
        *data = (double *)span.run.data;
        return true;
    }
    PyErr_Format(PyExc_ValueError, "expected a dense float64 tensor of %lld elements on the CPU", (long long)numel);
    return false;
}

bool doubles_of_each(PyObject *tensor, int64_t n, double **data, int64_t *step)
{
    Span span;
    *step = read_span(tensor, &span) && span.run.numel == 1 ? 0 : 1;
    return doubles(tensor, *step ? n : 1, data);
}

/* The type Tensors. */

/* Takes the tuple and the spans, also when it fails. */
static Tensors *new_tensors(PyObject *tuple, Span *spans)
{
    Tensors *tensors = tuple && spans ? PyObject_GC_New(Tensors, &TensorsType) : NULL;
    if (!tensors) {
        Py_XDECREF(tuple);
        PyMem_Free(spans);
        return PyErr_Occurred() ? NULL : (Tensors *)PyErr_NoMemory();
    }
    tensors->tuple = tuple;
    tensors->n = PyTuple_GET_SIZE(tuple);
    tensors->spans = spans;
    PyObject_GC_Track(tensors);
    return tensors;
}

Tensors *as_tensors(PyObject *sequence)
{
    if (Py_TYPE(sequence) == &TensorsType)
        return (Tensors *)Py_NewRef(sequence);
    PyObject *tuple = PySequence_Tuple(sequence);
    if (!tuple)
        return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    Span *spans = PyMem_New(Span, (size_t)n);
    for (Py_ssize_t i = 0; spans && i < n; i++)
        read_span(PyTuple_GET_ITEM(tuple, i), &spans[i]);
    return new_tensors(tuple, spans);
}

static int tensors_traverse(Tensors *self, visitproc visit, void *arg)
{
    Py_VISIT(self->tuple);
    return 0;
}

static void tensors_dealloc(Tensors *self)
{
    PyObject_GC_UnTrack(self);
    Py_DECREF(self->tuple);
    PyMem_Free(self->spans);
    PyObject_GC_Del(self);
}

static Py_ssize_t tensors_length(PyObject *self)
{
    return ((Tensors *)self)->n;
}

static PyObject *tensors_item(PyObject *self, Py_ssize_t i)
{
    if (i < 0 || i >= ((Tensors *)self)->n) {
        PyErr_SetString(PyExc_IndexError, "index out of range");
        return NULL;
    }
    return Py_NewRef(PyTuple_GET_ITEM(((Tensors *)self)->tuple, i));
}

static PySequenceMethods TENSORS_AS_SEQUENCE = {.sq_length = tensors_length, .sq_item = tensors_item};

PyTypeObject TensorsType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "clipcore.kernels._cpu.Tensors",
    .tp_doc = "A sequence of tensors, and where their elements are; valid while they stay there.",
    .tp_basicsize = sizeof(Tensors),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_SEQUENCE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_traverse = (traverseproc)tensors_traverse,
    .tp_dealloc = (destructor)tensors_dealloc,
    .tp_as_sequence = &TENSORS_AS_SEQUENCE,
};

/* gather: what Python would find out at 3 us a tensor. */

typedef struct {
    const char *begin, *end;
} Stretch;

static int by_address(const void *a, const void *b)
{
    const char *one = ((const Stretch *)a)->begin, *other = ((const Stretch *)b)->begin;
    return (one > other) - (one < other);
}

/* Whether two tensors share memory; true also when there is no memory to find out. */
static bool overlap(const Span *spans, Py_ssize_t count)
{
    Stretch *stretches = PyMem_New(Stretch, (size_t)count);
    if (!stretches)
        return true;
    size_t n = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const Run *run = &spans[i].run;
        if (run->numel)
            stretches[n++] = (Stretch){run->data, run->data + run->numel * size_of(run->kind)};
    }
    qsort(stretches, n, sizeof *stretches, by_address);
    bool found = false;
    for (size_t i = 1; i < n; i++)
        found |= stretches[i].begin < stretches[i - 1].end;
    PyMem_Free(stretches);
    return found;
}

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

/* Gradients of the first parameters, and the parameters' positions. */
typedef struct {
    PyObject *gradients; /* a list */
    Span *spans;
    Py_ssize_t *owners;
} Gathered;

/* False when there is an error, or when it takes a closer look. */
static bool gather_one(Gathered *all, PyObject *parameter, Py_ssize_t position)
{
    PyObject *gradient = is_leaf(parameter) ? get(torch.grad, parameter) : NULL;
    Py_ssize_t i = PyList_GET_SIZE(all->gradients);
    bool plain = gradient == Py_None || (gradient && read_span(gradient, &all->spans[i]) && has_version(gradient) &&
                                         PyList_Append(all->gradients, gradient) == 0);
    all->owners[i] = position;
    Py_XDECREF(gradient);
    return plain;
}

/* Positions as a list; a range, which costs nothing, when they are 0 .. n - 1. */
static PyObject *owners_of(const Gathered *all, Py_ssize_t n)
{
    Py_ssize_t count = PyList_GET_SIZE(all->gradients);
    if (count == n)
        return PyObject_CallFunction((PyObject *)&PyRange_Type, "n", n);
    PyObject *owners = PyList_New(count);
    for (Py_ssize_t i = 0; owners && i < count; i++) {
        PyObject *owner = PyLong_FromSsize_t(all->owners[i]);
        if (!owner)
            Py_CLEAR(owners);
        else
            PyList_SET_ITEM(owners, i, owner);
    }
    return owners;
}

/* Takes the spans. */
static PyObject *gathered(Gathered *all, Py_ssize_t n)
{
    long long elements = 0;
    bool has_float64 = false;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(all->gradients); i++) {
        elements += all->spans[i].run.numel;
        has_float64 |= all->spans[i].run.kind == FLOAT64;
    }
    Tensors *tensors = new_tensors(PyList_AsTuple(all->gradients), all->spans);
    all->spans = NULL;
    PyObject *owners = tensors ? owners_of(all, n) : NULL;
    if (owners)
        return Py_BuildValue("NNLO", tensors, owners, elements, has_float64 ? Py_True : Py_False);
    Py_XDECREF(tensors);
    return NULL;
}

const char gather_doc[] = "gather(parameters) -> (gradients, owners, elements, has_float64) or None\n\n"
                          "The gradients of leaf parameters as Tensors, the positions of the parameters that have one, and\n"
                          "how many elements that is; None unless each is memory that the passes take, and no two share any.";

PyObject *py_gather(PyObject *Py_UNUSED(module), PyObject *sequence)
{
    PyObject *parameters = PySequence_Tuple(sequence), *result = NULL;
    if (!parameters)
        return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(parameters);
    Gathered all = {PyList_New(0), PyMem_New(Span, (size_t)n), PyMem_New(Py_ssize_t, (size_t)n)};
    bool plain = all.gradients && all.spans && all.owners;
    for (Py_ssize_t i = 0; plain && i < n; i++)
        plain = gather_one(&all, PyTuple_GET_ITEM(parameters, i), i);
    if (plain && !overlap(all.spans, PyList_GET_SIZE(all.gradients)))
        result = gathered(&all, n);
    else if (!PyErr_Occurred())
        result = Py_NewRef(Py_None);
    Py_XDECREF(all.gradients);
    PyMem_Free(all.spans);
    PyMem_Free(all.owners);
    Py_DECREF(parameters);
    return result;
}
