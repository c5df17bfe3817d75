/* Tensors, or the gradients of parameters, and where the elements of each are. */

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

PyObject *py_gather(PyObject *module, PyObject *args);
extern const char gather_doc[];

#endif
