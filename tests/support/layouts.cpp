#include "tests/support/layouts.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>

#include "tests/support/layout_figures.hpp"

namespace librt::test {
namespace {

constexpr Slot kNowhere{99, 0};
constexpr unsigned kLanes = 32;

[[noreturn]] void refuse(std::string_view what, const std::string& text) {
  throw std::invalid_argument(fmt::format("{}: '{}'", what, text));
}

unsigned number(const std::string& text) {
  if (text.empty() || text.size() > 2 || text.find_first_not_of("0123456789") != std::string::npos)
    refuse("not a number", text);
  return static_cast<unsigned>(std::stoul(text));
}

/// "T5:{a2,a3}" or "T5:b1".
void append_cell(const std::string& cell, std::vector<Slot>& row) {
  const std::size_t colon = cell.find(':');
  if (cell.empty() || cell.front() != 'T' || colon == std::string::npos) refuse("not a cell", cell);
  const unsigned lane = number(cell.substr(1, colon - 1));
  if (lane >= kLanes) refuse("no such thread", cell);
  std::string elements = cell.substr(colon + 1);
  if (elements.size() >= 2 && elements.front() == '{' && elements.back() == '}')
    elements = elements.substr(1, elements.size() - 2);
  if (elements.empty() || elements.back() == ',') refuse("not an element", cell);
  std::istringstream list(elements);
  for (std::string element; std::getline(list, element, ',');) {
    if (element.size() < 2) refuse("not an element", cell);
    row.push_back({lane, number(element.substr(1))});
  }
}

std::vector<unsigned> lanes_of(std::string_view line) {
  std::istringstream words{std::string(line)};
  std::vector<unsigned> lanes;
  for (std::string word; words >> word;) lanes.push_back(number(word.substr(1)));
  return lanes;
}

struct Place {
  std::size_t row = 0, column = 0;
};

std::map<Slot, Place> places_of(const Layout& layout) {
  std::map<Slot, Place> places;
  for (std::size_t row = 0; row < layout.size(); ++row)
    for (std::size_t column = 0; column < layout[row].size(); ++column) places[layout[row][column]] = {row, column};
  return places;
}

Layout nowhere(const Layout& like) {
  return Layout(like.size(), std::vector<Slot>(like.front().size(), kNowhere));
}

Slot slot_of(std::size_t index, unsigned slots) {
  const unsigned elements = slots / kLanes;
  return {static_cast<unsigned>(index) / elements, static_cast<unsigned>(index) % elements};
}

std::string to_string(const Slot& slot) {
  return slot == kNowhere ? "nowhere" : fmt::format("T{}:{}", slot.lane, slot.element);
}

/// The only accumulator that became 1; kNowhere if none did, nothing at all if more did or some became another number.
std::optional<Slot> result_of(const Products& products, std::size_t a, std::size_t b) {
  const std::uint32_t* words = &products.words[(a * products.b_slots + b) * kProductWords];
  Slot result = kNowhere;
  for (unsigned r = 0; r < 4; ++r)
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if (((words[r] >> lane) & 1u) == 0) continue;
      if (result != kNowhere) return std::nullopt;
      result = {lane, r};
    }
  return words[4] != 0 ? std::nullopt : std::optional(result);
}

/// Enters `slot` at `place`, unless something else stands there.
void enter(Layout& layout, const Place& place, const Slot& slot, std::set<std::pair<std::size_t, std::size_t>>& bad) {
  Slot& entry = layout[place.row][place.column];
  if (entry != kNowhere && entry != slot) bad.insert({place.row, place.column});
  entry = slot;
}

}  // namespace

Layout parse_layout(std::string_view figure) {
  Layout layout;
  std::istringstream lines{std::string(figure)};
  std::set<Slot> seen;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream cells(line);
    std::vector<Slot> row;
    for (std::string cell; cells >> cell;) append_cell(cell, row);
    if (row.empty()) continue;
    if (!layout.empty() && row.size() != layout.front().size()) refuse("a row of another length", line);
    for (const Slot& slot : row)
      if (!seen.insert(slot).second) refuse("an element that was there before", line);
    layout.push_back(std::move(row));
  }
  if (layout.empty()) refuse("no rows", std::string(figure));
  return layout;
}

std::vector<std::string> to_rows(const Layout& layout, char letter) {
  std::vector<std::string> rows;
  for (const std::vector<Slot>& slots : layout) {
    std::string row;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      if (!row.empty()) row += ' ';
      const bool pair = i + 1 < slots.size() && slots[i + 1].lane == slots[i].lane;
      row += pair ? fmt::format("T{0}:{{{1}{2},{1}{3}}}", slots[i].lane, letter, slots[i].element, slots[i + 1].element)
                  : fmt::format("T{}:{}{}", slots[i].lane, letter, slots[i].element);
      if (pair) ++i;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

const std::vector<MmaForm>& mma_forms() {
  static const std::vector<MmaForm> forms = {
      {"m16n8k8", "f16", 2, 1}, {"m16n8k8", "bf16", 2, 1}, {"m16n8k16", "f16", 4, 2}, {"m16n8k16", "bf16", 4, 2}};
  return forms;
}

MmaLayouts figure_of(const MmaForm& form) {
  const bool deep = form.shape == "m16n8k16";
  return {parse_layout(deep ? figures::kM16N8K16A : figures::kM16N8K8A),
          parse_layout(deep ? figures::kM16N8K16B : figures::kM16N8K8B), parse_layout(figures::kM16N8C)};
}

std::string MatrixForm::name() const {
  return fmt::format("{}.x{}{}", stores ? "stmatrix" : "ldmatrix", count, transposed ? ".trans" : "");
}

const std::vector<MatrixForm>& matrix_forms() {
  static const std::vector<MatrixForm> forms = [] {
    std::vector<MatrixForm> all;
    for (const bool stores : {false, true})
      for (const unsigned count : {1u, 2u, 4u})
        for (const bool transposed : {false, true}) all.push_back({stores, count, transposed});
    return all;
  }();
  return forms;
}

Layout figure_of(const MatrixForm& form) {
  const Layout matrix = parse_layout(form.transposed ? figures::kMatrixTransposed : figures::kMatrix);
  Layout layout(std::size_t{8} * form.count);
  std::istringstream lines{std::string(figures::kMatrixAddresses)};
  unsigned m = 0;
  for (std::string line; m < form.count && std::getline(lines, line);) {
    const std::vector<unsigned> lanes = lanes_of(line);
    if (lanes.empty()) continue;
    for (std::size_t row = 0; row < 8; ++row) {
      layout.at(lanes.at(row)) = matrix[row];
      for (Slot& slot : layout[lanes[row]]) slot.element += 2 * m;
    }
    ++m;
  }
  return layout;
}

std::string difference(const Products& products, const MmaLayouts& layouts) {
  constexpr unsigned kReported = 4;
  const auto a_places = places_of(layouts.a), b_places = places_of(layouts.b);
  std::string text;
  unsigned wrong = 0;
  for (std::size_t a = 0; a < products.a_slots; ++a)
    for (std::size_t b = 0; b < products.b_slots; ++b) {
      const Slot a_slot = slot_of(a, products.a_slots), b_slot = slot_of(b, products.b_slots);
      const auto a_place = a_places.find(a_slot), b_place = b_places.find(b_slot);
      const bool known = a_place != a_places.end() && b_place != b_places.end();
      const bool meet = known && a_place->second.column == b_place->second.row;
      const Slot expected = meet ? layouts.d[a_place->second.row][b_place->second.column] : kNowhere;
      const std::optional<Slot> result = result_of(products, a, b);
      if (known && result == expected) continue;
      if (++wrong <= kReported)
        text += fmt::format("A {} and B {} give {}, expected {}\n", to_string(a_slot), to_string(b_slot),
                            result ? to_string(*result) : "several numbers", to_string(expected));
    }
  return wrong == 0 ? "" : fmt::format("{}{} of {} products", text, wrong, products.a_slots * products.b_slots);
}

std::string difference(const Layout& measured, const Layout& expected) {
  if (measured.size() != expected.size()) return fmt::format("{} rows, not {}", measured.size(), expected.size());
  std::string text;
  for (std::size_t row = 0; row < expected.size(); ++row)
    for (std::size_t column = 0; column < expected[row].size(); ++column) {
      const Slot& found = measured[row].at(column);
      if (found != expected[row][column])
        text += fmt::format("row {}, column {}: {}, expected {}\n", row, column, to_string(found),
                            to_string(expected[row][column]));
    }
  return text;
}

MmaLayouts measure(const Products& products, const MmaLayouts& figures) {
  const auto a_places = places_of(figures.a), b_places = places_of(figures.b), d_places = places_of(figures.d);
  MmaLayouts measured{nowhere(figures.a), nowhere(figures.b), nowhere(figures.d)};
  std::set<std::pair<std::size_t, std::size_t>> bad_a, bad_b, bad_d;
  for (std::size_t a = 0; a < products.a_slots; ++a)
    for (std::size_t b = 0; b < products.b_slots; ++b) {
      const std::optional<Slot> result = result_of(products, a, b);
      if (result == kNowhere) continue;
      const Slot a_slot = slot_of(a, products.a_slots), b_slot = slot_of(b, products.b_slots);
      const Place a_place = a_places.at(a_slot), b_place = b_places.at(b_slot);
      const auto d_place = result ? d_places.find(*result) : d_places.end();
      if (d_place == d_places.end()) {
        bad_a.insert({a_place.row, a_place.column});
        bad_b.insert({b_place.row, b_place.column});
        continue;
      }
      enter(measured.a, {d_place->second.row, b_place.row}, a_slot, bad_a);
      enter(measured.b, {a_place.column, d_place->second.column}, b_slot, bad_b);
      enter(measured.d, {a_place.row, b_place.column}, *result, bad_d);
    }
  for (const auto& [row, column] : bad_a) measured.a[row][column] = kNowhere;
  for (const auto& [row, column] : bad_b) measured.b[row][column] = kNowhere;
  for (const auto& [row, column] : bad_d) measured.d[row][column] = kNowhere;
  return measured;
}

Layout measure_load(const std::vector<std::uint32_t>& value, const MatrixForm& form) {
  Layout layout(std::size_t{8} * form.count, std::vector<Slot>(8, kNowhere));
  for (unsigned lane = 0; lane < kLanes; ++lane)
    for (unsigned element = 0; element < 2 * form.count; ++element) {
      const std::uint32_t id = (value.at(lane * 4 + element / 2) >> (16 * (element % 2))) & 0xffff;
      if (id / 8 < layout.size()) layout[id / 8][id % 8] = {lane, element};
    }
  return layout;
}

Layout measure_store(const std::vector<std::uint16_t>& rows, const MatrixForm& form) {
  Layout layout(std::size_t{8} * form.count, std::vector<Slot>(8, kNowhere));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] == kUntouched) continue;
    // A row that nobody should have written shows as one row too many.
    if (i / 8 >= layout.size()) layout.resize(i / 8 + 1, std::vector<Slot>(8, kNowhere));
    layout[i / 8][i % 8] = {rows[i] / 8u, rows[i] % 8u};
  }
  return layout;
}

nlohmann::json to_json(const std::map<std::string, MmaLayouts>& products, const std::map<std::string, Layout>& moves) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, layouts] : products)
    json[name] = {{"A", to_rows(layouts.a, 'a')}, {"B", to_rows(layouts.b, 'b')}, {"D", to_rows(layouts.d, 'c')}};
  for (const auto& [name, layout] : moves) json[name] = to_rows(layout, 'r');
  return json;
}

nlohmann::json figures_json(bool with_stores) {
  std::map<std::string, MmaLayouts> products;
  std::map<std::string, Layout> moves;
  for (const MmaForm& form : mma_forms()) products[form.name()] = figure_of(form);
  for (const MatrixForm& form : matrix_forms())
    if (with_stores || !form.stores) moves[form.name()] = figure_of(form);
  return to_json(products, moves);
}

}  // namespace librt::test
