// Convolutions and pooling of images that have the channels of a pixel side by side: [B, H, W, C]. Weights are packed as
// [rows, columns, inside, outside], the last axis filled up with zeros to `width` elements, which are whole vectors. A row of
// the output is a product of matrices of which the left one overlaps itself: from one pixel to the next the window moves by the
// channels of a pixel.

namespace {

// C = sum over `pieces` of A B, or C += it, for `rows` rows and `columns` (1 or 2) vectors of C, the last one stored to `tail`
// elements. A piece is a product over K; am, ak, ap: how far the next row, column and piece of A are; ldb, ldc: the next row.
template <typename T, bool adds, int pieces, int K, int am, int ak, int ap, int ldb, int ldc, int rows, int columns, int tail>
inline void window(const T* a, const T* b, T* __restrict c) {
  using V = typename Lanes<T>::vector;
  using U = typename Lanes<T>::unaligned;
  constexpr int L = Lanes<T>::count;
  V sum[rows][columns];
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) sum[i][j] = V{};
  for (int p = 0; p < pieces; ++p, a += ap)
    for (int k = 0; k < K; ++k, b += ldb) {
      V right[columns];
      for (int j = 0; j < columns; ++j) right[j] = *reinterpret_cast<const U*>(b + j * L);
      for (int i = 0; i < rows; ++i) {
        const T left = a[i * am + k * ak];
        for (int j = 0; j < columns; ++j) sum[i][j] += left * right[j];
      }
    }
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) {
      T* to = c + i * ldc + j * L;
      if (j + 1 < columns || tail == L) {
        if constexpr (adds) sum[i][j] += *reinterpret_cast<const U*>(to);
        *reinterpret_cast<U*>(to) = sum[i][j];
      } else {
        for (int t = 0; t < tail; ++t) to[t] = adds ? to[t] + sum[i][j][t] : sum[i][j][t];
      }
    }
}

// The same for M rows, in tiles that are as equal as can be: registers hold few rows, and a tile of two would wait for itself.
template <typename T, bool adds, int M, int pieces, int K, int am, int ak, int ap, int ldb, int ldc, int columns, int tail>
SHARED void windows(const T* a, const T* b, T* __restrict c) {
  constexpr int most = TILE_ROWS * 2 / columns, tiles = (M + most - 1) / most;
  constexpr int rows = M / tiles, longer = M - rows * tiles;  // tiles with a row more
  for (int t = 0; t < longer; ++t)
    window<T, adds, pieces, K, am, ak, ap, ldb, ldc, rows + 1, columns, tail>(a + t * (rows + 1) * am, b, c + t * (rows + 1) * ldc);
  for (int t = 0, m = longer * (rows + 1); t < tiles - longer; ++t, m += rows)
    window<T, adds, pieces, K, am, ak, ap, ldb, ldc, rows, columns, tail>(a + m * am, b, c + m * ldc);
}

// An image [H, W, C] into a larger one [Hp, Wp, C] of zeros: its first pixel at (top, left), `apart` pixels from the next.
template <typename T, int H, int W, int C, int Hp, int Wp, int top, int left, int apart>
inline void placed(const T* from, T* __restrict to) {
  for (int h = 0; h < H && top + h * apart < Hp; ++h) {
    if (top + h * apart < 0) continue;
    T* row = to + (top + h * apart) * Wp * C;
    for (int w = 0; w < W; ++w) {
      const int at = left + w * apart;
      if (at >= 0 && at < Wp)
        for (int c = 0; c < C; ++c) row[at * C + c] = from[(h * W + w) * C + c];
    }
  }
}

// Images [B, H, W, I] to [B, Ho, Wo, O] with packed weights [Kh, Kw, I, width]: a window moves by `stride`, its input's pixels
// are `apart` from each other, the first one is at (top, left).
template <typename T, int B, int H, int W, int I, int Ho, int Wo, int O, int Kh, int Kw, int width, int stride, int apart, int top, int left>
SHARED void convolved(const T* x, const T* weights, T* __restrict out) {
  constexpr int L = Lanes<T>::count;
  constexpr int Hp = (Ho - 1) * stride + Kh, Wp = (Wo - 1) * stride + Kw;
  alignas(64) T wide[Hp * Wp * I] = {};
  constexpr int pairs = O / (2 * L) * (2 * L), rest = O - pairs;
  for (int b = 0; b < B; ++b) {
    placed<T, H, W, I, Hp, Wp, top, left, apart>(x + b * H * W * I, wide);
    T* to = out + b * Ho * Wo * O;
    for (int h = 0; h < Ho; ++h) {
      const T* from = wide + h * stride * Wp * I;
      T* row = to + h * Wo * O;
      for (int n = 0; n < pairs; n += 2 * L)
        windows<T, false, Wo, Kh, Kw * I, stride * I, 1, Wp * I, width, O, 2, L>(from, weights + n, row + n);
      if constexpr (rest > L)
        windows<T, false, Wo, Kh, Kw * I, stride * I, 1, Wp * I, width, O, 2, rest - L>(from, weights + pairs, row + pairs);
      else if constexpr (rest > 0)
        windows<T, false, Wo, Kh, Kw * I, stride * I, 1, Wp * I, width, O, 1, rest>(from, weights + pairs, row + pairs);
    }
  }
}

// The gradient of such weights, packed, from the images and the gradient [B, Ho, Wo, O] at the output.
template <typename T, int B, int H, int W, int I, int Ho, int Wo, int O, int Kh, int Kw, int width, int stride, int top, int left>
SHARED void weights_gradient(const T* x, const T* gradient, T* __restrict out) {
  constexpr int L = Lanes<T>::count, whole = (O + L - 1) / L * L;  // what the vectors of O hold
  constexpr int Hp = (Ho - 1) * stride + Kh, Wp = (Wo - 1) * stride + Kw;
  alignas(64) T wide[Hp * Wp * I] = {};
  alignas(64) T filled[whole == O ? 1 : Ho * Wo * whole] = {};
  for (int i = 0; i < Kh * Kw * I * width; ++i) out[i] = T(0);
  constexpr int pairs = whole / (2 * L) * (2 * L);
  for (int b = 0; b < B; ++b) {
    placed<T, H, W, I, Hp, Wp, top, left, 1>(x + b * H * W * I, wide);
    const T* right = gradient + b * Ho * Wo * O;
    if constexpr (whole != O) {
      for (int i = 0; i < Ho * Wo; ++i)
        for (int o = 0; o < O; ++o) filled[i * whole + o] = right[i * O + o];
      right = filled;
    }
    for (int kh = 0; kh < Kh; ++kh) {
      const T* from = wide + kh * Wp * I;
      T* to = out + kh * Kw * I * width;
      for (int n = 0; n < pairs; n += 2 * L)
        windows<T, true, Kw * I, Ho, Wo, 1, stride * I, stride * Wp * I, whole, width, 2, L>(from, right + n, to + n);
      if constexpr (pairs < whole)
        windows<T, true, Kw * I, Ho, Wo, 1, stride * I, stride * Wp * I, whole, width, 1, L>(from, right + pairs, to + pairs);
    }
  }
}

// Weights [O, I, Kh, Kw] of any strides as packed ones; `turned`: by half a turn, inside and outside exchanged.
template <typename T, int O, int I, int Kh, int Kw, int so, int si, int sh, int sw, int width, bool turned>
SHARED void packed(const T* from, T* __restrict to) {
  constexpr int In = turned ? O : I, Out = turned ? I : O;
  for (int i = 0; i < Kh * Kw * In * width; ++i) to[i] = T(0);
  for (int h = 0; h < Kh; ++h)
    for (int w = 0; w < Kw; ++w)
      for (int i = 0; i < In; ++i)
        for (int o = 0; o < Out; ++o)
          to[((h * Kw + w) * In + i) * width + o] = turned ? from[i * so + o * si + (Kh - 1 - h) * sh + (Kw - 1 - w) * sw]
                                                           : from[o * so + i * si + h * sh + w * sw];
}

// The largest of each window of k x k pixels that do not overlap [B, H, W, C] to [B, H / k, W / k, C].
template <typename T, int B, int H, int W, int C, int k>
SHARED void pooled(const T* x, T* __restrict out) {
  constexpr int Ho = H / k, Wo = W / k;
  for (int b = 0; b < B; ++b)
    for (int h = 0; h < Ho; ++h)
      for (int w = 0; w < Wo; ++w) {
        const T* from = x + ((b * H + h * k) * W + w * k) * C;
        T* to = out + ((b * Ho + h) * Wo + w) * C;
        for (int c = 0; c < C; ++c) to[c] = from[c];
        for (int i = 0; i < k; ++i)
          for (int j = 0; j < k; ++j)
#pragma GCC ivdep
            for (int c = 0; c < C; ++c) {
              const T value = from[(i * W + j) * C + c];
              to[c] = (value != value) | (value > to[c]) ? value : to[c];  // NaN wins
            }
      }
}

// The gradient at x: each window's goes to the first of its largest pixels.
template <typename T, int B, int H, int W, int C, int k>
SHARED void pooled_gradient(const T* gradient, const T* x, T* __restrict out) {
  constexpr int Ho = H / k, Wo = W / k;
  if constexpr (Ho * k != H || Wo * k != W)
    for (int i = 0; i < B * H * W * C; ++i) out[i] = T(0);
  alignas(64) T most[Ho * Wo * C];
  for (int b = 0; b < B; ++b) {
    pooled<T, 1, H, W, C, k>(x + b * H * W * C, most);
    for (int h = 0; h < Ho; ++h)
      for (int w = 0; w < Wo; ++w) {
        const int first = ((b * H + h * k) * W + w * k) * C;
        const T* largest = most + (h * Wo + w) * C;
        T left[C];
        for (int c = 0; c < C; ++c) left[c] = gradient[((b * Ho + h) * Wo + w) * C + c];
        for (int i = 0; i < k; ++i)
          for (int j = 0; j < k; ++j)
#pragma GCC ivdep
            for (int c = 0; c < C; ++c) {
              const int at = first + (i * W + j) * C + c;
              const bool is_it = x[at] == largest[c];
              const T all = left[c];
              out[at] = chosen(is_it, all, T(0));
              left[c] = chosen(is_it, T(0), all);
            }
      }
  }
}

}  // namespace
