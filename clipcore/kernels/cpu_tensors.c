/* A sequence of tensors with their addresses: read once, passed over often. */

#include "cpu_tensors.h"

#include "cpu_torch.h"

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
