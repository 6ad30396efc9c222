// What generated training steps are made of: element-wise functions that PyTorch and C++ do not share, and products of
// small matrices. All sizes and strides are template arguments, so that the compiler keeps a tile of the product in
// registers; a library's batched product spends most of its time around matrices this small.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TILE_ROWS 8
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define TILE_ROWS 6
#else
#define VECTOR_BYTES 16
#define TILE_ROWS 8
#endif

// glibc's vector library: the compiler may call it for many elements at once.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
extern "C" {
float expf(float) noexcept __attribute__((simd("notinbranch")));
float logf(float) noexcept __attribute__((simd("notinbranch")));
double exp(double) noexcept __attribute__((simd("notinbranch")));
double log(double) noexcept __attribute__((simd("notinbranch")));
}
#endif

// Functions that are not written out where they are called: with those a step of a ResNet-18 took minutes to compile.
#define SHARED __attribute__((noinline)) static

namespace {

inline float exp_of(float x) { return expf(x); }
inline double exp_of(double x) { return exp(x); }
inline float log_of(float x) { return logf(x); }
inline double log_of(double x) { return log(x); }

// log(1 + x) without losing a small x; written so that a loop over it becomes vector code.
template <typename T>
inline T log1p_of(T x) {
  const T sum = T(1) + x;
  return sum == T(1) ? x : log_of(sum) * (x / (sum - T(1)));
}

// As in PyTorch, NaN wins.
template <typename T>
inline T larger(T a, T b) {
  return a != a || a > b ? a : b;
}
template <typename T>
inline T smaller(T a, T b) {
  return a != a || a < b ? a : b;
}
// Both values are read whatever is chosen: where only one was, and loops of two or three turns, g++ 12 reads wrong ones.
template <typename T>
inline T chosen(bool first, T a, T b) {
  return first ? a : b;
}
template <typename T>
inline T relu(T x) {
  return x < T(0) ? T(0) : x;
}
template <typename T>
inline T sigmoid(T x) {
  return T(1) / (T(1) + exp_of(-x));
}
template <typename T>
inline T square(T x) {
  return x * x;
}

// An index from data, kept inside its array whatever the data say.
inline int64_t inside(int64_t i, int64_t size) { return i < 0 ? 0 : i < size ? i : size - 1; }

template <typename T>
struct Lanes {
  static constexpr int count = VECTOR_BYTES / sizeof(T);
  typedef T vector __attribute__((vector_size(VECTOR_BYTES)));
  typedef T unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T))));
};

// Exchange the off-diagonal blocks of `span` elements between two rows of a matrix that is being transposed.
template <int span, typename V, int... i>
inline void exchange(V& a, V& b, std::integer_sequence<int, i...>) {
  constexpr int n = sizeof...(i);
  const V low = __builtin_shufflevector(a, b, ((i & span) ? n + (i ^ span) : i)...);
  const V high = __builtin_shufflevector(a, b, ((i & span) ? n + i : (i ^ span))...);
  a = low;
  b = high;
}

template <int span, typename V, int n>
inline void transpose(V (&rows)[n]) {
  for (int i = 0; i < n; ++i)
    if (!(i & span)) exchange<span>(rows[i], rows[i | span], std::make_integer_sequence<int, n>{});
  if constexpr (2 * span < n) transpose<2 * span>(rows);
}

// to[k][n] = from[n * ld + k], `to` with rows of `width` elements.
template <typename T, int K, int N, int ld, int width>
inline void transposed(const T* from, T* __restrict to) {
  using V = typename Lanes<T>::vector;
  using U = typename Lanes<T>::unaligned;
  constexpr int L = Lanes<T>::count;
  constexpr int n_blocks = N / L * L, k_blocks = K / L * L;
  for (int n = 0; n < n_blocks; n += L) {
    for (int k = 0; k < k_blocks; k += L) {
      V rows[L];
      for (int i = 0; i < L; ++i) rows[i] = *reinterpret_cast<const U*>(from + (n + i) * ld + k);
      transpose<1>(rows);
      for (int i = 0; i < L; ++i) *reinterpret_cast<U*>(to + (k + i) * width + n) = rows[i];
    }
  }
  for (int n = 0; n < N; ++n)
    for (int k = n < n_blocks ? k_blocks : 0; k < K; ++k) to[k * width + n] = from[n * ld + k];
}

// `rows` rows of C, `columns` (1 or 2) vectors wide, the last one stored to `tail` elements. am, ak: how far the next
// row and the next column of A are; ldb, ldc: the next row of B and C.
template <typename T, int K, int am, int ak, int ldb, int ldc, int rows, int columns, int tail>
inline void tile(const T* a, const T* b, T* __restrict c) {
  using V = typename Lanes<T>::vector;
  using U = typename Lanes<T>::unaligned;
  constexpr int L = Lanes<T>::count;
  V sum[rows][columns];
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) sum[i][j] = V{};
  for (int k = 0; k < K; ++k) {
    V right[columns];
    for (int j = 0; j < columns; ++j) right[j] = *reinterpret_cast<const U*>(b + k * ldb + j * L);
    for (int i = 0; i < rows; ++i) {
      const T left = a[i * am + k * ak];
      for (int j = 0; j < columns; ++j) sum[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      T* to = c + i * ldc + j * L;
      if (j + 1 < columns || tail == L) {
        *reinterpret_cast<U*>(to) = sum[i][j];
      } else {
        for (int t = 0; t < tail; ++t) to[t] = sum[i][j][t];
      }
    }
  }
}

template <typename T, int M, int K, int am, int ak, int ldb, int ldc, int columns, int tail>
inline void panel(const T* a, const T* b, T* __restrict c) {
  constexpr int whole = M / TILE_ROWS * TILE_ROWS;
  for (int m = 0; m < whole; m += TILE_ROWS) tile<T, K, am, ak, ldb, ldc, TILE_ROWS, columns, tail>(a + m * am, b, c + m * ldc);
  if constexpr (whole < M) tile<T, K, am, ak, ldb, ldc, M - whole, columns, tail>(a + whole * am, b, c + whole * ldc);
}

template <typename T, int M, int K, int N, int am, int ak, int ldb>
inline void panels(const T* a, const T* b, T* __restrict c) {
  constexpr int L = Lanes<T>::count;
  constexpr int pairs = N / (2 * L) * (2 * L), rest = N - pairs;
  for (int n = 0; n < pairs; n += 2 * L) panel<T, M, K, am, ak, ldb, N, 2, L>(a, b + n, c + n);
  if constexpr (rest > L) {
    panel<T, M, K, am, ak, ldb, N, 2, rest - L>(a, b + pairs, c + pairs);
  } else if constexpr (rest > 0) {
    panel<T, M, K, am, ak, ldb, N, 1, rest>(a, b + pairs, c + pairs);
  }
}

// C = A B for A [M, K] with strides am, ak; B [K, N] with strides bk, bn; C [M, N] contiguous.
template <typename T, int M, int K, int N, int am, int ak, int bk, int bn>
inline void product(const T* a, const T* b, T* __restrict c) {
  constexpr int L = Lanes<T>::count;
  constexpr int width = (N + L - 1) / L * L;  // of a row of B in whole vectors
  if constexpr (bn == 1 && width == N) {
    panels<T, M, K, N, am, ak, bk>(a, b, c);
  } else {
    alignas(VECTOR_BYTES) T right[K * width];
    if constexpr (bk == 1) {
      transposed<T, K, N, bn, width>(b, right);
    } else {
      for (int k = 0; k < K; ++k)
        for (int n = 0; n < N; ++n) right[k * width + n] = b[k * bk + n * bn];
    }
    if constexpr (width != N)
      for (int k = 0; k < K; ++k)
        for (int n = N; n < width; ++n) right[k * width + n] = T(0);
    panels<T, M, K, N, am, ak, width>(a, right, c);
  }
}

}  // namespace
