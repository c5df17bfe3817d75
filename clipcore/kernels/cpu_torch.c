/* torch is reached through its functions alone, looked up at run time: this compiles without torch's headers, in less
   than a second, and one build serves every torch that has the functions. */

#include "cpu_torch.h"

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

bool read_span(PyObject *tensor, Span *span)
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

bool is_inference(PyObject *tensor)
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

bool is_leaf(PyObject *tensor)
{
    if (Py_TYPE(tensor) == torch.parameter_type)
        return true;
    PyObject *leaf = Py_TYPE(tensor) == torch.tensor_type ? get(torch.is_leaf, tensor) : NULL;
    Py_XDECREF(leaf);
    return leaf == Py_True;
}

PyObject *gradient_of(PyObject *leaf)
{
    return direct.work ? direct.wrap(direct.grad(impl_behind_head(leaf))) : get(torch.grad, leaf);
}
