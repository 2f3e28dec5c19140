// Where elements of matrices live in the registers of a warp: read from the figures of layout_figures.hpp, or measured
// from what an instruction did, and compared.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace librt::test {

/// One element of a warp's fragment. 16-bit elements: two to a register, the low half first.
struct Slot {
  unsigned lane = 0;
  unsigned element = 0;
  auto operator<=>(const Slot&) const = default;
};

/// Slot of each element of a matrix, [row][column].
using Layout = std::vector<std::vector<Slot>>;

/// Throws std::invalid_argument unless the text is rows of equal length, in the notation of layout_figures.hpp, in
/// which each slot occurs once.
Layout parse_layout(std::string_view figure);
/// Rows in the same notation: "T0:{a0,a1} T1:{a0,a1}", pairs only where both are of one lane.
std::vector<std::string> to_rows(const Layout& layout, char letter);

struct MmaLayouts {
  Layout a, b, d;
};

/// One form of mma.sync that the machine supports: 16-bit A and B, f32 C and D.
struct MmaForm {
  std::string shape;  ///< "m16n8k16"
  std::string type;   ///< "f16" or "bf16"
  unsigned a_registers = 0, b_registers = 0;

  std::string name() const { return "mma." + shape + "." + type; }
  std::uint32_t one() const { return type == "f16" ? 0x3c00 : 0x3f80; }
  unsigned a_slots() const { return 64 * a_registers; }
  unsigned b_slots() const { return 64 * b_registers; }
};
const std::vector<MmaForm>& mma_forms();
MmaLayouts figure_of(const MmaForm& form);

/// One form of ldmatrix or stmatrix.
struct MatrixForm {
  bool stores = false;
  unsigned count = 1;  ///< matrices: 1, 2 or 4
  bool transposed = false;

  std::string name() const;
};
const std::vector<MatrixForm>& matrix_forms();
/// Row n is the one that lane n gives the address of.
Layout figure_of(const MatrixForm& form);

/// What mma.sync gives for a single 1 in A, in a given slot, and a single 1 in B: kProductWords words. Word r of the
/// first four is the mask of lanes whose register r became 1; the last is the mask of those in which some register
/// became neither 0 nor 1.
constexpr std::size_t kProductWords = 5;
/// For every slot of A (lane, then element) and every slot of B.
struct Products {
  unsigned a_slots = 0, b_slots = 0;
  std::vector<std::uint32_t> words;  ///< [a_slots][b_slots][kProductWords]
};

/// The places at which the products are not what the layouts say, the first few by name. Empty = they agree.
std::string difference(const Products& products, const MmaLayouts& layouts);
std::string difference(const Layout& measured, const Layout& expected);

/// The layouts that the products show. An mma alone cannot name rows, columns and steps of the sum, so each layout is
/// measured against the figures of the other two. Elements that contradict each other, or came nowhere, have lane 99.
MmaLayouts measure(const Products& products, const MmaLayouts& figures);
/// @param value [lane][register] of ldmatrix, where the element at row r, column c was 8 r + c
Layout measure_load(const std::vector<std::uint32_t>& value, const MatrixForm& form);
/// @param rows [32][8] after stmatrix, where the element of a lane was 8 * lane + element, others kUntouched
Layout measure_store(const std::vector<std::uint16_t>& rows, const MatrixForm& form);
constexpr std::uint16_t kUntouched = 0xffff;

/// {"mma.m16n8k16.f16": {"A": [rows], "B": [rows], "D": [rows]}, "ldmatrix.x4.trans": [rows], ...}
nlohmann::json to_json(const std::map<std::string, MmaLayouts>& products, const std::map<std::string, Layout>& moves);
/// What to_json gives for the figures; without stmatrix below sm_90.
nlohmann::json figures_json(bool with_stores);

}  // namespace librt::test
