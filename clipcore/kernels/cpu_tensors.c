/* torch is reached through its functions alone, looked up at run time: this compiles without torch's headers, in less
   than a second, and one build serves every torch that has the functions. */

#include "cpu_tensors.h"

#include <dlfcn.h>

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

/* What attributes say, torch's C++ functions say ten times as fast. These take a pointer and return a pointer or a bool, as
   C would. They may change with any version, so bind() tries them out, and attributes stand in. None throws unless memory
   runs out; the one that raises a version counter does where there is none, which C could not catch: Python calls it. */
static struct {
    Handle (*grad)(void *impl);   /* const at::Tensor &c10::TensorImpl::grad() const */
    PyObject *(*wrap)(Handle);    /* PyObject *THPVariable_Wrap(const at::TensorBase &), None for an undefined one */
    bool (*is_inference)(Handle); /* bool at::native::is_inference(const at::Tensor &) */
    bool work;
} direct;

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
    void *function;
} WANTED[] = {
    {"_ZNK3c1010TensorImpl4gradEv", &direct.grad},
    {"_Z16THPVariable_WrapRKN2at10TensorBaseE", &direct.wrap},
    {"_ZN2at6native12is_inferenceERKNS_6TensorE", &direct.is_inference},
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
    for (size_t i = 0; i < sizeof WANTED / sizeof *WANTED; i++) {
        void *address = dlsym(library, WANTED[i].name);
        memcpy(WANTED[i].function, &address, sizeof address);
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

/* Whether the C++ functions do what they are taken for. */
static bool try_direct(PyObject *parameter, PyObject *gradient, PyObject *inference)
{
    if (!torch.impl_follows_head || !direct.grad || !direct.wrap || !direct.is_inference)
        return false;
    void *impl = impl_behind_head(gradient), *inference_impl = impl_behind_head(inference);
    PyObject *found = direct.wrap(direct.grad(impl_behind_head(parameter))), *none = direct.wrap(direct.grad(impl));
    bool work = found == gradient && none == Py_None && direct.is_inference(&inference_impl) && !direct.is_inference(&impl);
    Py_XDECREF(found);
    Py_XDECREF(none);
    return work;
}

const char bind_doc[] = "bind(library, parameter, gradient, inference) -> (pooled, direct)\n\n"
                        "Look up torch's functions in a loaded library and those it depends on, and try them out on a parameter,\n"
                        "its gradient and a tensor made in inference mode. Returns whether torch's thread pool was found, and\n"
                        "whether its C++ functions tell which gradients there are. Raises ImportError when something is missing\n"
                        "that nothing works without.";

PyObject *py_bind(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    PyObject *parameter, *gradient, *inference;
    if (!PyArg_ParseTuple(args, "sOOO:bind", &path, &parameter, &gradient, &inference) || !find_functions(path) ||
        !find_attributes((PyObject *)Py_TYPE(gradient)))
        return NULL;
    torch.tensor_type = (PyTypeObject *)Py_NewRef(Py_TYPE(gradient));
    torch.parameter_type = (PyTypeObject *)Py_NewRef(Py_TYPE(parameter));
    torch.impl_follows_head = impl_behind_head(gradient) == impl_by_attribute(gradient) &&
                              impl_behind_head(parameter) == impl_by_attribute(parameter);
    direct.work = try_direct(parameter, gradient, inference);
    return Py_BuildValue("OO", pool.parallel_for ? Py_True : Py_False, direct.work ? Py_True : Py_False);
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

static Tensors *new_tensors(Py_ssize_t room)
{
    Tensors *tensors = PyObject_GC_New(Tensors, &TensorsType);
    if (!tensors)
        return NULL;
    tensors->n = 0;
    tensors->objects = PyMem_New(PyObject *, (size_t)room);
    tensors->spans = PyMem_New(Span, (size_t)room);
    PyObject_GC_Track(tensors);
    if (tensors->objects && tensors->spans)
        return tensors;
    Py_DECREF(tensors);
    return (Tensors *)PyErr_NoMemory();
}

/* Takes the object, for which there is room. Whether it is plain memory. */
static bool append(Tensors *tensors, PyObject *object)
{
    bool plain = read_span(object, &tensors->spans[tensors->n]);
    tensors->objects[tensors->n++] = object;
    return plain;
}

Tensors *as_tensors(PyObject *sequence)
{
    if (Py_TYPE(sequence) == &TensorsType)
        return (Tensors *)Py_NewRef(sequence);
    PyObject *tuple = PySequence_Tuple(sequence);
    Py_ssize_t n = tuple ? PyTuple_GET_SIZE(tuple) : 0;
    Tensors *tensors = tuple ? new_tensors(n) : NULL;
    for (Py_ssize_t i = 0; tensors && i < n; i++)
        append(tensors, Py_NewRef(PyTuple_GET_ITEM(tuple, i)));
    Py_XDECREF(tuple);
    return tensors;
}

static int tensors_traverse(Tensors *self, visitproc visit, void *arg)
{
    for (Py_ssize_t i = 0; i < self->n; i++)
        Py_VISIT(self->objects[i]);
    return 0;
}

static void tensors_dealloc(Tensors *self)
{
    PyObject_GC_UnTrack(self);
    for (Py_ssize_t i = 0; i < self->n; i++)
        Py_DECREF(self->objects[i]);
    PyMem_Free(self->objects);
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
    return Py_NewRef(((Tensors *)self)->objects[i]);
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
    uintptr_t begin, end;
} Stretch;

/* Whether each begins where the one before has ended, or later. */
static bool ascend(const Stretch *stretches, size_t n)
{
    bool ascending = true;
    for (size_t i = 1; i < n; i++)
        ascending &= stretches[i].begin >= stretches[i - 1].end;
    return ascending;
}

/* Sorts by one byte of the first address, and leaves those alike in it in their order. */
static void sort_by_byte(const Stretch *from, Stretch *to, size_t n, int shift)
{
    size_t places[256] = {0}, next = 0;
    for (size_t i = 0; i < n; i++)
        places[from[i].begin >> shift & 255]++;
    for (int byte = 0; byte < 256; byte++) {
        size_t count = places[byte];
        places[byte] = next;
        next += count;
    }
    for (size_t i = 0; i < n; i++)
        to[places[from[i].begin >> shift & 255]++] = from[i];
}

/* By first address, with room for as many in `spare`; returns which of the two has them. A training's gradients lie in no
   order, and comparing them one by one would take longer than all the rest of gathering. */
static Stretch *sort(Stretch *stretches, Stretch *spare, size_t n)
{
    uintptr_t differing = 0;
    for (size_t i = 1; i < n; i++)
        differing |= stretches[i].begin ^ stretches[0].begin;
    for (int shift = 0; differing; shift += 8, differing >>= 8) {
        if (!(differing & 255))
            continue;
        sort_by_byte(stretches, spare, n, shift);
        Stretch *sorted = spare;
        spare = stretches;
        stretches = sorted;
    }
    return stretches;
}

/* Whether two tensors share memory; true also when there is no memory to find out. */
static bool overlap(const Span *spans, Py_ssize_t count)
{
    Stretch *stretches = PyMem_New(Stretch, 2 * (size_t)count);
    if (!stretches)
        return true;
    size_t n = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const Run *run = &spans[i].run;
        uintptr_t begin = (uintptr_t)run->data;
        if (run->numel)
            stretches[n++] = (Stretch){begin, begin + (uintptr_t)(run->numel * size_of(run->kind))};
    }
    bool found = !ascend(stretches, n) && !ascend(sort(stretches, stretches + count, n), n);
    PyMem_Free(stretches);
    return found;
}

/* What may be changed in inference mode only, and has no version counter. */
static bool is_inference(PyObject *tensor)
{
    if (direct.work) {
        void *impl = impl_behind_head(tensor);
        return direct.is_inference(&impl);
    }
    PyObject *version = get(torch.version, tensor);
    Py_XDECREF(version);
    PyErr_Clear();
    return !version;
}

static bool is_leaf(PyObject *tensor)
{
    if (Py_TYPE(tensor) == torch.parameter_type)
        return true;
    PyObject *leaf = Py_TYPE(tensor) == torch.tensor_type ? get(torch.is_leaf, tensor) : NULL;
    Py_XDECREF(leaf);
    return leaf == Py_True;
}

/* What `.grad` is of a leaf. */
static PyObject *gradient_of(PyObject *leaf)
{
    return direct.work ? direct.wrap(direct.grad(impl_behind_head(leaf))) : get(torch.grad, leaf);
}

/* Takes a parameter's gradient too, if it has one. False when there is an error, or when it takes a closer look. */
static bool gather_gradient(Tensors *gradients, Py_ssize_t *owners, PyObject *parameter, Py_ssize_t position)
{
    PyObject *gradient = is_leaf(parameter) ? gradient_of(parameter) : NULL;
    if (!gradient)
        return false;
    if (gradient == Py_None) {
        Py_DECREF(gradient);
        return true;
    }
    owners[gradients->n] = position;
    return append(gradients, gradient) && !is_inference(gradient);
}

/* Positions as a list; a range, which costs nothing, when they are 0 .. n - 1. */
static PyObject *as_owners(const Py_ssize_t *positions, Py_ssize_t count, Py_ssize_t n)
{
    if (count == n)
        return PyObject_CallFunction((PyObject *)&PyRange_Type, "n", n);
    PyObject *owners = PyList_New(count);
    for (Py_ssize_t i = 0; owners && i < count; i++) {
        PyObject *owner = PyLong_FromSsize_t(positions[i]);
        if (!owner)
            Py_CLEAR(owners);
        else
            PyList_SET_ITEM(owners, i, owner);
    }
    return owners;
}

static PyObject *gathered(Tensors *tensors, PyObject *owners)
{
    long long elements = 0;
    bool has_float64 = false;
    for (Py_ssize_t i = 0; i < tensors->n; i++) {
        elements += tensors->spans[i].run.numel;
        has_float64 |= tensors->spans[i].run.kind == FLOAT64;
    }
    return Py_BuildValue("OOLO", tensors, owners, elements, has_float64 ? Py_True : Py_False);
}

const char gather_doc[] = "gather(tensors, gradients) -> (tensors, owners, elements, has_float64) or None\n\n"
                          "Tensors, or the gradients of those that are leaves; the positions of those that have one; and how\n"
                          "many elements that is. None unless each is memory that the passes take, and no two share any; a\n"
                          "gradient must not be an inference tensor either, as it is to be changed.";

PyObject *py_gather(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *sequence;
    int gradients;
    if (!PyArg_ParseTuple(args, "Op:gather", &sequence, &gradients))
        return NULL;
    PyObject *given = PySequence_Tuple(sequence), *owners = NULL, *result = NULL;
    Py_ssize_t n = given ? PyTuple_GET_SIZE(given) : 0;
    Tensors *found = given ? new_tensors(n) : NULL;
    Py_ssize_t *positions = found ? PyMem_New(Py_ssize_t, (size_t)n) : NULL;
    bool plain = positions;
    for (Py_ssize_t i = 0; plain && i < n; i++) {
        PyObject *tensor = PyTuple_GET_ITEM(given, i);
        plain = gradients ? gather_gradient(found, positions, tensor, i) : append(found, Py_NewRef(tensor));
    }
    if (plain && !overlap(found->spans, found->n) && (owners = as_owners(positions, found->n, n)))
        result = gathered(found, owners);
    else if (!PyErr_Occurred())
        result = Py_NewRef(Py_None);
    Py_XDECREF(owners);
    PyMem_Free(positions);
    Py_XDECREF(found);
    Py_XDECREF(given);
    return result;
}
