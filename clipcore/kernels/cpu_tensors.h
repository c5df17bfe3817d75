/* Python's side of torch: where tensors keep their elements, and which gradients parameters have. */

#ifndef CLIPCORE_CPU_TENSORS_H
#define CLIPCORE_CPU_TENSORS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "cpu.h"

/* A sequence of tensors, and where the elements of each are. Holds the tensors, so that nobody frees them in a pass;
   what they hold must not be replaced or resized as long as this is used. */
typedef struct {
    PyObject_HEAD
    Py_ssize_t n;
    PyObject **objects;
    Span *spans;
} Tensors;

extern PyTypeObject TensorsType;

/* A new reference: to the object itself if it is Tensors already, else to one made of any sequence of tensors. */
Tensors *as_tensors(PyObject *sequence);

/* Points at the memory of a float64 tensor of exactly `numel` elements; or sets an error and returns false. */
bool doubles(PyObject *tensor, int64_t numel, double **data);

/* The same for n elements, *step = 1, or for one that stands for all of them, *step = 0. */
bool doubles_of_each(PyObject *tensor, int64_t n, double **data, int64_t *step);

PyObject *py_bind(PyObject *module, PyObject *args);
PyObject *py_gather(PyObject *module, PyObject *args);
extern const char bind_doc[], gather_doc[];

#endif
