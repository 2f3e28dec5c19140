// ldmatrix, stmatrix and mma.sync. Fragment layouts as in the PTX ISA, "Matrix fragments for mma.m16n8k16" and
// "ldmatrix": with g = lane / 4 and t = lane % 4, a register of a 16-bit fragment holds elements 2t and 2t+1 of row g
// (of A) or of column g (of B); a 32-bit accumulator pair holds columns 2t and 2t+1 of row g, the next pair row g + 8.
#pragma once

#include "src/ptx/handlers/half.inl"
#include "src/ptx/handlers/memory.inl"

/// out[column][row] = in[row][column] of an 8x8 matrix of 16-bit elements.
inline void transpose8x8(const std::uint16_t* in, std::uint16_t* out) {
  typedef std::uint16_t Row __attribute__((vector_size(16)));
  Row r[8], s[8];
  __builtin_memcpy(r, in, sizeof r);
  const auto interleave = [](Row(&from)[8], Row(&to)[8]) {
    for (unsigned i = 0; i < 4; ++i) {
      to[2 * i] = __builtin_shufflevector(from[i], from[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      to[2 * i + 1] = __builtin_shufflevector(from[i], from[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
  };
  interleave(r, s);
  interleave(s, r);
  interleave(r, s);
  __builtin_memcpy(out, s, sizeof s);
}

template <unsigned matrices, bool transposed>
void load_matrices(Warp& w, const Instruction& in, std::uint32_t) {
  LanePointers rows;
  constexpr std::uint32_t lanes = matrices == 4 ? kFullWarp : (1u << (8 * matrices)) - 1;
  resolve(w, in, lanes, Space::shared, 16, AccessMode::read, rows);
  std::uint16_t loaded[matrices][64];
  for (unsigned m = 0; m < matrices; ++m)
    for (unsigned row = 0; row < 8; ++row) __builtin_memcpy(&loaded[m][8 * row], rows.at[8 * m + row], 16);
  for (unsigned m = 0; m < matrices; ++m) {
    std::byte* d = w.registers + (matrices == 1 ? in.d : in.list[m]);
    if constexpr (transposed) {
      std::uint16_t turned[64];
      transpose8x8(loaded[m], turned);
      __builtin_memcpy(d, turned, sizeof turned);
    } else {
      __builtin_memcpy(d, loaded[m], sizeof loaded[m]);
    }
  }
}

template <unsigned matrices, bool transposed>
void store_matrices(Warp& w, const Instruction& in, std::uint32_t) {
  LanePointers rows;
  constexpr std::uint32_t lanes = matrices == 4 ? kFullWarp : (1u << (8 * matrices)) - 1;
  resolve(w, in, lanes, Space::shared, 16, AccessMode::write, rows);
  for (unsigned m = 0; m < matrices; ++m) {
    std::uint16_t value[64], turned[64];
    __builtin_memcpy(value, w.registers + (matrices == 1 ? in.d : in.list[m]), sizeof value);
    if constexpr (transposed) transpose8x8(value, turned);
    for (unsigned row = 0; row < 8; ++row)
      __builtin_memcpy(rows.at[8 * m + row], (transposed ? turned : value) + 8 * row, 16);
  }
}

/// One register of a 16-bit fragment is an 8x8 matrix, 8 elements of row (column) g in lanes 4g to 4g+3.
template <class Format>
inline void read_fragment(const Warp& w, std::uint32_t offset, float (&out)[8][8]) {
  std::uint16_t raw[64];
  __builtin_memcpy(raw, w.registers + offset, sizeof raw);
#pragma GCC ivdep
  for (unsigned i = 0; i < 64; ++i) (&out[0][0])[i] = Format::decode(raw[i]);
}

template <class Format>
inline void read_fragment_turned(const Warp& w, std::uint32_t offset, float (&out)[8][8]) {
  std::uint16_t raw[64], turned[64];
  __builtin_memcpy(raw, w.registers + offset, sizeof raw);
  transpose8x8(raw, turned);
#pragma GCC ivdep
  for (unsigned i = 0; i < 64; ++i) (&out[0][0])[i] = Format::decode(turned[i]);
}

typedef float Row8 __attribute__((vector_size(32)));

inline void multiply_add_row(float a, const Row8& b, Row8& sum) {
#if defined(__FMA__)
  sum = _mm256_fmadd_ps(_mm256_set1_ps(a), b, sum);
#else
  for (unsigned n = 0; n < 8; ++n) sum[n] = __builtin_fmaf(a, b[n], sum[n]);
#endif
}

/// D = A * B + C, m16n8k(8 * halves). Each element is the fp32 sum C + a0*b0 + a1*b1 + ... in this order, every
/// product exact and every addition rounded to nearest even (a chain of fused multiply-adds).
/// `list`: A registers, B registers, C registers, D registers.
template <class Format, unsigned halves>
void multiply_matrices(Warp& w, const Instruction& in, std::uint32_t) {
  constexpr unsigned a_registers = 2 * halves;
  const std::uint32_t* a_list = in.list;
  const std::uint32_t* b_list = a_list + a_registers;
  const std::uint32_t* c_list = b_list + halves;
  const std::uint32_t* d_list = c_list + 4;
  alignas(32) float b[halves][8][8];
  for (unsigned h = 0; h < halves; ++h) read_fragment_turned<Format>(w, b_list[h], b[h]);
  std::uint32_t d[4][kLanes];  // written last: a destination may be one of the sources
  for (unsigned half_row = 0; half_row < 2; ++half_row) {
    alignas(32) float sum[8][8];
    alignas(32) float a[halves][8][8];
    for (unsigned h = 0; h < halves; ++h) read_fragment<Format>(w, a_list[2 * h + half_row], a[h]);
    float c[2][kLanes];
    for (unsigned p = 0; p < 2; ++p) __builtin_memcpy(c[p], w.registers + c_list[2 * half_row + p], sizeof c[p]);
    for (unsigned i = 0; i < kLanes; ++i) {
      (&sum[0][0])[2 * i] = c[0][i];
      (&sum[0][0])[2 * i + 1] = c[1][i];
    }
    for (unsigned g = 0; g < 8; g += 4) {
      Row8 row[4];
      for (unsigned r = 0; r < 4; ++r) __builtin_memcpy(&row[r], sum[g + r], sizeof row[r]);
      for (unsigned h = 0; h < halves; ++h)
        for (unsigned k = 0; k < 8; ++k) {
          Row8 column;
          __builtin_memcpy(&column, b[h][k], sizeof column);
          for (unsigned r = 0; r < 4; ++r) multiply_add_row(a[h][g + r][k], column, row[r]);
        }
      for (unsigned r = 0; r < 4; ++r) __builtin_memcpy(sum[g + r], &row[r], sizeof row[r]);
    }
    for (unsigned i = 0; i < kLanes; ++i) {
      d[2 * half_row][i] = write32<false, false>((&sum[0][0])[2 * i]);
      d[2 * half_row + 1][i] = write32<false, false>((&sum[0][0])[2 * i + 1]);
    }
  }
  for (unsigned p = 0; p < 4; ++p) __builtin_memcpy(w.registers + d_list[p], d[p], sizeof d[p]);
}
