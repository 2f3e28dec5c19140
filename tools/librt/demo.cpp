// librt demo: FlashInfer #941 end to end, in plain words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>

#include "src/reference/reference.hpp"
#include "tools/librt/decode.hpp"
#include "tools/librt/demo_edits.hpp"
#include "tools/librt/progress_bar.hpp"
#include "tools/librt/sample_batch.hpp"
#include "tools/librt/table.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

constexpr double kAllowedError = 2e-2;  // bf16, of the row's largest value

struct Outcome {
  DecodeResult clean;
  DecodeResult poisoned;
};

/// One kernel on the batch, with zeros and with NaN in the padding.
Outcome run_both(Runtime& runtime, const Kernel& kernel, const reference::Batch& batch) {
  constexpr int kOneSplit = 1 << 16;
  const reference::Batch poisoned = reference::fill_padding(batch, reference::Poison::quiet_nan);
  return {decode(runtime, kernel, problem_of(batch), kOneSplit),
          decode(runtime, kernel, problem_of(poisoned), kOneSplit)};
}

double number(std::uint16_t bits) {
  return reference::to_double(bits, DType::bf16);
}

std::int64_t count_nan(const DecodeResult& result) {
  return std::count_if(result.out.begin(), result.out.end(),
                       [](std::uint16_t bits) { return std::isnan(number(bits)); });
}

bool same_bits(const DecodeResult& a, const DecodeResult& b) {
  return a.out == b.out && std::equal(a.lse.begin(), a.lse.end(), b.lse.begin(), b.lse.end(), [](float x, float y) {
           return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y);
         });
}

std::string first_values(const DecodeResult& result) {
  std::vector<std::string> values;
  for (std::size_t i = 0; i < 3; ++i) values.push_back(fmt::format("{:7.4f}", number(result.out.at(i))));
  return fmt::format("{} ...", fmt::join(values, " "));
}

/// Largest |out - expected| of a row over the row's largest |expected|, the worst row; NaN counts as infinite.
double largest_error(const DecodeResult& result, const reference::Expected& expected, int out_dim) {
  const auto dim = static_cast<std::size_t>(out_dim);
  double worst = 0;
  for (std::size_t row = 0; row * dim < expected.out.size(); ++row) {
    double largest = 0, error = 0;
    for (std::size_t i = row * dim; i < (row + 1) * dim; ++i) {
      const double difference = std::abs(number(result.out.at(i)) - expected.out[i]);
      if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
      largest = std::max(largest, std::abs(expected.out[i]));
      error = std::max(error, difference);
    }
    if (error > 0) worst = std::max(worst, error / largest);
  }
  return worst;
}

struct KernelStory {
  std::string spec;
  std::string key;
  Origin origin = Origin::compiled;
  double compile_ms = 0;
  std::size_t padding_elements = 0;
  std::int64_t output_elements = 0;
  Outcome librt;
  Outcome edited;
  double clean_error = 0;
  double poisoned_error = 0;

  bool kept() const {
    return count_nan(librt.poisoned) == 0 && same_bits(librt.clean, librt.poisoned) && clean_error <= kAllowedError &&
           poisoned_error <= kAllowedError;
  }
  /// Without NaN from the edited kernel the demonstration would show nothing.
  bool edit_shows() const { return count_nan(edited.clean) == 0 && count_nan(edited.poisoned) > 0; }
};

KernelStory tell(const Spec& spec, const Arch& arch) {
  Options options = options_from_environment();
  options.device = fmt::format("virtual:{}", to_string(arch));
  Options edited_options = options;
  edited_options.cache_mode = CacheMode::off;
  edited_options.source_edits = {without_v_zeroing(spec)};

  KernelStory story;
  story.spec = to_string(spec);
  const reference::Batch batch = sample_batch(spec);
  ProgressBar bar(fmt::format("{}: compiling for {}", kernel_name(spec), to_string(arch)));
  Runtime runtime(options);
  const Artifact artifact = runtime.compile(spec, arch);
  story.key = artifact.key;
  story.origin = artifact.origin;
  story.compile_ms = artifact.compile_ms;
  bar.next(fmt::format("{}: running on the virtual device", kernel_name(spec)));
  story.librt = run_both(runtime, runtime.load(spec, artifact), batch);
  bar.next(fmt::format("{}: compiling and running the edited kernel", kernel_name(spec)));
  Runtime edited_runtime(edited_options);
  story.edited = run_both(edited_runtime, edited_runtime.load(spec, edited_runtime.compile(spec, arch)), batch);

  const reference::Expected expected = reference::expected_of(batch);
  story.clean_error = largest_error(story.librt.clean, expected, batch.shape.out_dim());
  story.poisoned_error = largest_error(story.librt.poisoned, expected, batch.shape.out_dim());
  story.output_elements = static_cast<std::int64_t>(story.librt.clean.out.size());
  const int valid_row = batch.shape.kv_heads * (batch.shape.first_dim + batch.shape.second_dim);
  story.padding_elements =
      batch.first.data.size() + batch.second.data.size() - static_cast<std::size_t>(kSampleTokens * valid_row);
  return story;
}

Json to_json(const KernelStory& story) {
  return Json{{"spec", story.spec},
              {"key", story.key},
              {"origin", to_string(story.origin)},
              {"padding_elements", story.padding_elements},
              {"output_elements", story.output_elements},
              {"nan_with_clean_padding", count_nan(story.librt.clean)},
              {"nan_with_nan_padding", count_nan(story.librt.poisoned)},
              {"bit_identical", same_bits(story.librt.clean, story.librt.poisoned)},
              {"max_error_clean", story.clean_error},
              {"max_error_nan_padding", story.poisoned_error},
              {"allowed_error", kAllowedError},
              {"edited_nan_with_clean_padding", count_nan(story.edited.clean)},
              {"edited_nan_with_nan_padding", count_nan(story.edited.poisoned)},
              {"promise_kept", story.kept()},
              {"edit_shows_nan", story.edit_shows()}};
}

std::string in_words(const KernelStory& story, const Arch& arch) {
  const std::string origin = story.origin == Origin::compiled
                                 ? fmt::format("compiled in {:.0f} ms", story.compile_ms)
                                 : fmt::format("from the cache ({})", to_string(story.origin));
  const auto nan = [&](const DecodeResult& result) {
    const std::int64_t count = count_nan(result);
    return Cell(fmt::format("{} of {}", count, story.output_elements), count == 0 ? Style::good : Style::bad);
  };
  const std::vector<Column> columns{{"  padding holds"},
                                    {"NaN in output"},
                                    {.heading = "largest error", .right = true},
                                    {.heading = "first outputs of head 0", .fit = Fit::shorten, .leaves = 1}};
  const Rows rows{
      {"  zeros", nan(story.librt.clean), fmt::format("{:.5f}", story.clean_error), first_values(story.librt.clean)},
      {"  NaN", nan(story.librt.poisoned), fmt::format("{:.5f}", story.poisoned_error),
       first_values(story.librt.poisoned)},
      {"  NaN, V not zeroed", nan(story.edited.poisoned), "-", first_values(story.edited.poisoned)}};
  const auto prose = [](const std::string& text) { return paragraph(text, prose_columns(Stream::out)); };
  const bool same = same_bits(story.librt.clean, story.librt.poisoned);
  return styled(Style::heading, prose(story.spec)) +
         prose(fmt::format("  {} for {}; that cubin's PTX runs on the virtual device\n  {} elements of padding", origin,
                           to_string(arch), story.padding_elements)) +
         table(columns, rows) +
         styled(same ? Style::good : Style::bad,
                prose(fmt::format("  output and LSE with NaN in the padding bit-identical to those with zeros: {}",
                                  same ? "yes" : "NO"))) +
         "\n";
}

int demo(bool json) {
  const Arch arch = parse_arch("sm_90a");
  const std::array<Spec, 2> specs = {
      MlaDecodeSpec{.dtype = DType::bf16, .num_heads = 16, .page_size = kSamplePageSize},
      GqaDecodeSpec{
          .dtype = DType::bf16, .num_qo_heads = 32, .num_kv_heads = 8, .head_dim = 128, .page_size = kSamplePageSize}};
  if (!json) {
    print(paragraph(
        "FlashInfer #941: page size 4, 13 tokens. The last page holds 1 token and 3 slots that nobody has written. "
        "A masked score gives these slots the weight 0, but 0 x NaN = NaN: if they happen to hold NaN, so does every "
        "output. librt puts zeros in the place of V wherever there is no token, so what stands there does not matter. "
        "The last row of each table is the same kernel with that one step edited out of its text. "
        "Errors are relative to the largest value of a row, against double precision.\n",
        prose_columns(Stream::out)));
  }
  bool good = true;
  Json stories = Json::array();
  for (const Spec& spec : specs) {
    const KernelStory story = tell(spec, arch);
    good = good && story.kept() && story.edit_shows();
    stories.push_back(to_json(story));
    if (!json) print(in_words(story, arch));
  }
  if (json) {
    print_json(Json{{"page_size", kSamplePageSize},
                    {"tokens", kSampleTokens},
                    {"target", to_string(arch)},
                    {"kernels", stories},
                    {"promise_kept", good}});
  } else {
    print(good ? styled(Style::good, "Every promise was kept.") + " `librt cache ls` shows the cubins.\n"
               : styled(Style::bad, "A PROMISE WAS BROKEN:") + " see above.\n");
  }
  return good ? kDone : kProblemFound;
}

}  // namespace

void add_demo(CLI::App& tool, int& exit_code) {
  auto json = std::make_shared<bool>(false);
  CLI::App* const verb =
      add_verb(tool, "demo", "FlashInfer #941 end to end: NaN in the unwritten part of a page, and not in the output",
               "librt demo", *json);
  verb->callback([json, &exit_code] { exit_code = demo(*json); });
}

}  // namespace librt::tool
