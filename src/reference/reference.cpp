#include "src/reference/reference.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <stdexcept>

namespace librt::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Numbers as double, decoded once.
std::vector<double> decoded(std::span<const Bits> bits, DType dtype) {
  std::vector<double> numbers(bits.size());
  for (std::size_t i = 0; i < bits.size(); ++i) numbers[i] = to_double(bits[i], dtype);
  return numbers;
}

double dot(std::span<const double> left, std::span<const double> right) {
  double sum = 0;
  for (std::size_t i = 0; i < left.size(); ++i) sum += left[i] * right[i];
  return sum;
}

/// The valid rows of one KV head of one request, as double: key rows and value rows.
struct Rows {
  std::vector<std::vector<double>> keys, values;
};

Rows read_rows(const Batch& batch, int request, int kv_head) {
  const ValidRows first(batch.first, batch.pages(request), batch.kv_len(request), kv_head);
  const ValidRows second(batch.second, batch.pages(request), batch.kv_len(request), kv_head);
  Rows rows;
  for (int position = 0; position < first.size(); ++position) {
    std::vector<double> key = decoded(first.at(position), batch.shape.dtype);
    std::vector<double> other = decoded(second.at(position), batch.shape.dtype);
    if (batch.shape.is_mla) {
      rows.values.push_back(key);
      key.insert(key.end(), other.begin(), other.end());
    } else {
      rows.values.push_back(std::move(other));
    }
    rows.keys.push_back(std::move(key));
  }
  return rows;
}

std::vector<double> query_row(const Batch& batch, int request, int qo_head) {
  const auto row = [&](const std::vector<Bits>& q, int dim) {
    const auto at = static_cast<std::size_t>((request * batch.shape.qo_heads + qo_head) * dim);
    return decoded(std::span(q).subspan(at, static_cast<std::size_t>(dim)), batch.shape.dtype);
  };
  std::vector<double> query = row(batch.q, batch.shape.first_dim);
  const std::vector<double> rope = row(batch.q_pe, batch.shape.q_pe_dim());
  query.insert(query.end(), rope.begin(), rope.end());
  return query;
}

struct Softmax {
  std::vector<double> weights;  ///< relative to the largest logit
  double sum = 0;
  double largest = -kInfinity;
};

Softmax softmax(const Rows& rows, std::span<const double> query, double scale) {
  Softmax result;
  for (const std::vector<double>& key : rows.keys) result.weights.push_back(scale * dot(query, key));
  for (const double logit : result.weights) result.largest = std::fmax(result.largest, logit);
  const double base = result.largest == -kInfinity ? 0 : result.largest;
  for (double& logit : result.weights) {
    logit = std::exp(logit - base);
    result.sum += logit;
  }
  return result;
}

}  // namespace

std::span<const Bits> ValidRows::at(int position) const {
  if (position < 0 || position >= kv_len_) {
    throw std::out_of_range(fmt::format("position {} is padding: kv_len is {}", position, kv_len_));
  }
  const std::int32_t page = pages_[static_cast<std::size_t>(position / store_->page_size)];
  if (page < 0 || page >= store_->num_pages) {
    throw std::out_of_range(fmt::format("page id {} of a pool of {} pages", page, store_->num_pages));
  }
  return std::span(store_->data)
      .subspan(store_->row(page, position % store_->page_size, head_), static_cast<std::size_t>(store_->dim));
}

Expected expected_of(const Batch& batch) {
  const Shape& shape = batch.shape;
  const auto dim = static_cast<std::size_t>(shape.out_dim());
  Expected expected;
  for (int request = 0; request < batch.size(); ++request) {
    for (int kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      const Rows rows = read_rows(batch, request, kv_head);
      for (int row = 0; row < shape.group(); ++row) {
        const std::vector<double> query = query_row(batch, request, kv_head * shape.group() + row);
        const Softmax weights = softmax(rows, query, batch.sm_scale);
        std::vector<double> out(dim, 0.0);
        for (std::size_t position = 0; position < rows.values.size(); ++position) {
          for (std::size_t d = 0; d < dim; ++d) out[d] += weights.weights[position] * rows.values[position][d];
        }
        const double inverse = weights.sum == 0 ? 0 : 1 / weights.sum;
        for (const double number : out) expected.out.push_back(number * inverse);
        expected.lse.push_back(weights.sum == 0 ? -kInfinity : weights.largest + std::log(weights.sum));
      }
    }
  }
  return expected;
}

std::vector<double> softmax_weights(const Batch& batch, int request, int qo_head) {
  const Rows rows = read_rows(batch, request, qo_head / batch.shape.group());
  Softmax result = softmax(rows, query_row(batch, request, qo_head), batch.sm_scale);
  for (double& weight : result.weights) weight /= result.sum;
  return std::move(result.weights);
}

}  // namespace librt::reference
