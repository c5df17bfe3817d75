/* What torch says of a tensor: where its elements are, and which gradient it has. */

#ifndef CLIPCORE_CPU_TORCH_H
#define CLIPCORE_CPU_TORCH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "cpu.h"

/* False for whatever is not plain dense memory of a known type; the span is of no elements then. */
bool read_span(PyObject *tensor, Span *span);

/* Points at the memory of a float64 tensor of exactly `numel` elements; or sets an error and returns false. */
bool doubles(PyObject *tensor, int64_t numel, double **data);

/* The same for n elements, *step = 1, or for one that stands for all of them, *step = 0. */
bool doubles_of_each(PyObject *tensor, int64_t n, double **data, int64_t *step);

bool is_leaf(PyObject *tensor);

/* What `.grad` is of a leaf: a new reference, None for none. */
PyObject *gradient_of(PyObject *leaf);

/* What may be changed in inference mode only, and has no version counter. */
bool is_inference(PyObject *tensor);

PyObject *py_bind(PyObject *module, PyObject *args);
extern const char bind_doc[];

#endif
