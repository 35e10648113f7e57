/* The inner loops of the engine that PyTorch has no fast form of on a CPU, for Python.
 *
 * Products with the base's 8-bit weights, and what reads or writes every row by itself:
 * quantizing, attention of one query over a cache, the products of each row with its own
 * adapter, and choosing the likeliest tokens. hub/engine/native/__init__.py describes the
 * arguments; it is the only caller and asserts shapes, dtypes and strides before any pointer
 * gets here.
 *
 * Threads: OpenMP, resolved at load time against the runtime that PyTorch brought, so that both
 * share one pool. The number of threads never changes a result.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "variants.h"

#include "multiply.h"

/* Set when the module is loaded, and by `select`. */
static const struct kernels *rows;

#define POINTER(type, value) ((type *)(uintptr_t)(value))

static PyObject *no_memory(int failed)
{
    if (failed)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *py_quantize(PyObject *self, PyObject *args)
{
    unsigned long long x, weight, bias, out, scale;
    long long count, width, stride;
    int norm, threads, failed = 0;
    float epsilon;
    if (!PyArg_ParseTuple(args, "KLLLiKKfKKi", &x, &count, &width, &stride, &norm, &weight, &bias,
                          &epsilon, &out, &scale, &threads))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel num_threads(threads) if (count >= FEW_ROWS)
    {
        float *normed = norm == NO_NORM ? NULL : malloc(sizeof(float) * (size_t)width);
        if (norm != NO_NORM && normed == NULL) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < count; i++) {
            const float *row = POINTER(const float, x) + i * stride;
            if (normed != NULL) {
                rows->normalise(row, normed, width, norm, epsilon, POINTER(const float, weight),
                               POINTER(const float, bias));
                row = normed;
            }
            POINTER(float, scale)[i] = rows->quantize(row, POINTER(uint8_t, out) + i * width, width);
        }
        free(normed);
    }
    Py_END_ALLOW_THREADS
    return no_memory(failed);
}

static PyObject *py_finish(PyObject *self, PyObject *args)
{
    unsigned long long x, scale, bias, onto;
    long long count, width, onto_stride;
    int threads;
    if (!PyArg_ParseTuple(args, "KLLKKKLi", &x, &count, &width, &scale, &bias, &onto, &onto_stride,
                          &threads))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (count >= FEW_ROWS) schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float *target = onto ? POINTER(float, onto) + i * onto_stride : NULL;
        rows->finish(POINTER(float, x) + i * width, width, POINTER(const float, scale)[i],
                    POINTER(const float, bias), target);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *py_adapt(PyObject *self, PyObject *args)
{
    unsigned long long x, scale, index, offsets, ranks, down, down_sum, rank_scale, down_bias, up,
        up_scale, up_bias, out;
    long long count, in, width, out_stride, most;
    int activation, threads, failed = 0;
    if (!PyArg_ParseTuple(args, "KKKLKKLKKKKKKKLKLLii", &x, &scale, &index, &count, &offsets,
                          &ranks, &in, &down, &down_sum, &rank_scale, &down_bias, &up, &up_scale,
                          &up_bias, &width, &out, &out_stride, &most, &activation, &threads))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel num_threads(threads) if (count >= 2)
    {
        float *z = malloc(sizeof(float) * (size_t)most);
        if (z == NULL) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < count; i++) {
            int64_t row = POINTER(const int64_t, index)[i];
            int64_t low = POINTER(const int64_t, offsets)[i];
            struct adapter adapter = {
                .in = in,
                .out = width,
                .ranks = POINTER(const int64_t, ranks)[i],
                .down = POINTER(const int8_t, down) + low * in,
                .up = POINTER(const int8_t, up) + low * width,
                .down_sum = POINTER(const int32_t, down_sum) + low,
                .rank_scale = POINTER(const float, rank_scale) + low,
                .down_bias = down_bias ? POINTER(const float, down_bias) + low : NULL,
                .up_scale = up_scale ? POINTER(const float, up_scale) + low : NULL,
                .up_bias = up_bias ? POINTER(const float, up_bias) + low / 8 * width : NULL,
                .activation = activation,
            };
            if (z != NULL)
                rows->adapt(&adapter, POINTER(const uint8_t, x) + row * in,
                           POINTER(const float, scale)[row], z,
                           POINTER(float, out) + row * out_stride);
        }
        free(z);
    }
    Py_END_ALLOW_THREADS
    return no_memory(failed);
}

/* The next head's positions, while this one's are multiplied: each run is too short for the
 * hardware to see it coming. Fetching past the end of the cache is harmless. */
static void fetch_ahead(const uint16_t *next, int64_t count)
{
#if defined(__GNUC__)
    for (int64_t i = 0; i < count; i += 32)
        __builtin_prefetch(next + i);
#endif
}

static PyObject *py_attend(PyObject *self, PyObject *args)
{
    unsigned long long q, new_keys, keys, values, owners, lengths, bias, out;
    long long count, q_stride, row_stride, head_stride, bias_stride;
    int heads, width, longest, threads, failed = 0;
    float scale;
    if (!PyArg_ParseTuple(args, "KLLKKKLLKKiifKLiKi", &q, &count, &q_stride, &new_keys, &keys,
                          &values, &row_stride, &head_stride, &owners, &lengths, &heads, &width,
                          &scale, &bias, &bias_stride, &longest, &out, &threads))
        return NULL;
    int64_t inner = (int64_t)heads * width;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel num_threads(threads)
    {
        float *scratch = malloc(sizeof(float) * (size_t)(longest + width + 2 * PAIRS));
        if (scratch == NULL) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(static)
        for (int64_t unit = 0; unit < count * heads; unit++) {
            int64_t row = unit / heads, head = unit % heads;
            int64_t length = POINTER(const int64_t, lengths)[row];
            int64_t place = POINTER(const int64_t, owners)[row] * row_stride + head * head_stride;
            uint16_t *key = POINTER(uint16_t, keys) + place;
            uint16_t *value = POINTER(uint16_t, values) + place;
            if (new_keys) { /* keys and values lie behind the queries: q, k, v of a row */
                const float *own = POINTER(const float, new_keys) + row * q_stride + head * width;
                rows->store(own, key + (length - 1) * width, width);
                rows->store(own + inner, value + (length - 1) * width, width);
            }
            fetch_ahead(key + head_stride, length * width);
            fetch_ahead(value + head_stride, length * width);
            if (scratch != NULL)
                rows->attend(POINTER(const float, q) + row * q_stride + head * width, key, value,
                            length, width, scale,
                            bias ? POINTER(const float, bias) + head * bias_stride : NULL, scratch,
                            POINTER(float, out) + row * inner + head * width);
        }
        free(scratch);
    }
    Py_END_ALLOW_THREADS
    return no_memory(failed);
}

static PyObject *py_rank_tokens(PyObject *self, PyObject *args)
{
    unsigned long long logits, blocked_rows, blocked, values, tokens, state;
    long long count, width, first, keep, barred, blocks;
    int threads;
    if (!PyArg_ParseTuple(args, "KLLLKKLLLKKKi", &logits, &count, &width, &first, &blocked_rows,
                          &blocked, &barred, &blocks, &keep, &values, &tokens, &state, &threads))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) schedule(static) if (count > 1)
    for (int64_t i = 0; i < count; i++) {
        float *own = POINTER(float, state) + 3 * i; /* largest, sum, undefined */
        struct ranking row = {own[0],
                              own[1],
                              own[2] != 0.0f,
                              keep,
                              POINTER(float, values) + i * keep,
                              POINTER(int64_t, tokens) + i * keep};
        int64_t own_blocks = POINTER(const uint8_t, blocked_rows)[i] ? blocks : barred;
        rows->rank_tokens(POINTER(const float, logits) + i * width, width, first, &row,
                         POINTER(const int64_t, blocked), own_blocks);
        own[0] = row.largest;
        own[1] = row.sum;
        own[2] = row.undefined ? 1.0f : 0.0f;
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *py_multiply(PyObject *self, PyObject *args)
{
    unsigned long long x, weight, scale, offset, bias, row_scale, out;
    long long count, x_stride, steps, width, out_stride;
    int add, threads, failed;
    if (!PyArg_ParseTuple(args, "KLLLKLKKKKKLii", &x, &count, &x_stride, &steps, &weight, &width,
                          &scale, &offset, &bias, &row_scale, &out, &out_stride, &add, &threads))
        return NULL;
    struct product product = {
        .x = POINTER(const uint8_t, x),
        .x_stride = x_stride,
        .steps = steps,
        .width = width,
        .weight = POINTER(const int8_t, weight),
        .scale = POINTER(const float, scale),
        .bias = POINTER(const float, bias),
        .row_scale = POINTER(const float, row_scale),
        .offset = POINTER(const int32_t, offset),
        .out = POINTER(float, out),
        .out_stride = out_stride,
        .add = add,
    };
    Py_BEGIN_ALLOW_THREADS
    failed = multiply(rows, &product, count, threads);
    Py_END_ALLOW_THREADS
    return no_memory(failed);
}

/* The sum of 64-bit words, read by all threads: how fast memory can be read. */
static PyObject *py_read(PyObject *self, PyObject *args)
{
    unsigned long long from, sum = 0;
    long long words;
    int threads;
    if (!PyArg_ParseTuple(args, "KLi", &from, &words, &threads))
        return NULL;
    const uint64_t *word = POINTER(const uint64_t, from);
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for simd num_threads(threads) schedule(static) reduction(+ : sum)
    for (int64_t i = 0; i < words; i++)
        sum += word[i];
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLongLong(sum);
}

static PyObject *py_variant(PyObject *self, PyObject *args)
{
    return PyUnicode_FromString(rows->name);
}

/* Names of the variants that this machine can run. */
static PyObject *py_variants(PyObject *self, PyObject *args)
{
    PyObject *names = PyList_New(0);
    for (size_t i = 0; names != NULL && i < VARIANTS; i++) {
        if (!usable(&variants[i]))
            continue;
        PyObject *name = PyUnicode_FromString(variants[i].name);
        if (name == NULL || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *py_select(PyObject *self, PyObject *args)
{
    const char *name;
    if (!PyArg_ParseTuple(args, "s", &name))
        return NULL;
    const struct kernels *found = find_variant(name);
    if (found == NULL) {
        PyErr_Format(PyExc_ValueError, "this machine cannot run %s", name);
        return NULL;
    }
    rows = found;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"quantize", py_quantize, METH_VARARGS, NULL},
    {"finish", py_finish, METH_VARARGS, NULL},
    {"adapt", py_adapt, METH_VARARGS, NULL},
    {"attend", py_attend, METH_VARARGS, NULL},
    {"rank_tokens", py_rank_tokens, METH_VARARGS, NULL},
    {"multiply", py_multiply, METH_VARARGS, NULL},
    {"read", py_read, METH_VARARGS, NULL},
    {"variant", py_variant, METH_NOARGS, NULL},
    {"variants", py_variants, METH_NOARGS, NULL},
    {"select", py_select, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    rows = best_variant();
    return PyModule_Create(&module);
}
