#include "tools/librt/unread_names.hpp"

#include <librt/error.hpp>
#include <librt/kernel_kind.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "src/util/text.hpp"
#include "tools/librt/metadata.hpp"

namespace librt::tool {
namespace {

using util::in_quotes;
using util::Safetensors;

// --- what is read ---

constexpr std::array<std::string_view, 7> kMetadata = {"kernel", "sm_scale",    "kv_layout",      "mask",
                                                       "causal", "window_left", "logits_soft_cap"};

// --- what would change the result ---

/// Which values of a metadata change nothing.
enum class Neutral {
  none,         ///< no value
  one,          ///< 1, or "none"
  off,          ///< false, 0 or "none"
  no_bound,     ///< the same, and what is below 0
  no_window,    ///< below 0, alone or as the left one of a pair
  flag,         ///< true and false
  sm_scale,     ///< what sm_scale is
  description,  ///< any: only a tensor of the name would be read by an engine
};

struct Feature {
  std::string_view supported;  ///< what is, instead
  Neutral neutral;
  std::string_view names;  ///< as vLLM, SGLang, FlashInfer, FlashAttention, FlashMLA, TensorRT-LLM and transformers say
};

constexpr std::array kFeatures = {
    Feature{"attention sinks are not supported", Neutral::none,
            "sinks sink s_aux attn_sink attn_sinks attention_sink attention_sinks sink_bias sink_logits sink_weights "
            "learnable_sink softmax_offset"},
    Feature{"nothing is added to the scores: biases are not supported", Neutral::off,
            "alibi_slopes alibi maybe_alibi_slopes use_alibi attn_bias attention_bias bias position_bias score_bias "
            "relative_attention_bias rel_pos_bias rpe_bias score_mod"},
    Feature{"a request attends to all of its tokens: masks are not supported", Neutral::none,
            "mask causal custom_mask packed_custom_mask maybe_custom_mask attn_mask attention_mask key_padding_mask "
            "mask_mod mask_indptr qk_indptr block_mask tree_mask spec_mask"},
    Feature{"a request attends to all of its tokens: windows are not supported (-1 = none)", Neutral::no_window,
            "window_left window window_size left_window_size sliding_window sliding_window_size local_window "
            "local_window_size attention_window attention_window_size"},
    Feature{"a request attends to all of its tokens: windows and chunks are not supported", Neutral::no_bound,
            "window_right attention_chunk attention_chunk_size chunk_attention_size use_sliding_window"},
    Feature{"scores are not capped: soft caps are not supported (0 = none)", Neutral::no_bound,
            "logits_soft_cap logits_softcap logit_soft_cap logit_softcap logits_cap logit_cap soft_cap softcap "
            "attn_softcap attn_logit_softcapping attn_logit_softcap attn_logits_soft_cap attention_logit_cap "
            "xai_temperature_len attn_temperature attn_temperature_tuning"},
    Feature{"page lists and lengths are read from kv_indptr, kv_indices and kv_last_page_len", Neutral::description,
            "block_table block_tables page_table page_tables page_ids req_to_token req_to_token_pool kv_len kv_lens "
            "kv_lengths kv_len_arr kv_lens_arr kv_seq_len kv_seq_lens seq_len seq_lens seqlens seqlens_k seq_lens_k "
            "seqused_k cache_seqlens cache_lens context_len context_lens context_lengths cu_seqlens_k cu_seqlens_kv "
            "leftpad_k cache_leftpad cache_batch_idx cache_indices kv_start kv_start_idx page_indptr page_indices "
            "last_page_len paged_kv_indptr paged_kv_indices paged_kv_last_page_len kv_page_indptr kv_page_indices"},
    Feature{"one query token a request is supported", Neutral::description,
            "cu_seqlens cu_seqlens_q q_indptr query_start_loc qo_len qo_lens q_lens seqlens_q seq_lens_q seqused_q"},
    Feature{"a request attends to all of its tokens: lists of tokens or blocks are not supported", Neutral::none,
            "kv_token_indices kv_block_indices kv_list_len kv_block kv_list topk_indices topk_idx topk_index "
            "topk_length token_indices block_indices selected_indices sparse_indices indices block_sparse_indices "
            "blocksparse_indices block_sparse_mask"},
    Feature{"numbers are read as they are: scales are not supported (1 = none)", Neutral::one,
            "q_scale k_scale v_scale kv_scale ckv_scale kpe_scale o_scale out_scale output_scale q_scales k_scales "
            "v_scales kv_scales q_descale k_descale v_descale descale_q descale_k descale_v scale_q scale_k scale_v "
            "scale_o k_cache_scale v_cache_scale kv_cache_scale k_scale_cache v_scale_cache kv_scale_cache "
            "k_scale_float v_scale_float q_scale_float k_sf v_sf kv_block_scales bmm2_scale"},
    Feature{"numbers are read as they are: zero points are not supported (0 = none)", Neutral::off,
            "k_zero v_zero k_zeros v_zeros k_zero_point v_zero_point k_zero_points v_zero_points"},
    Feature{"the scale of the scores is read from sm_scale", Neutral::sm_scale,
            "sm_scale softmax_scale scale scaling scale_softmax attn_scale attention_scale qk_scale bmm1_scale"},
    Feature{"the pages are read as they are: new tokens, rows and states are not supported", Neutral::none,
            "k v k_new v_new new_k new_v knew vnew ckv_new kpe_new append_indptr append_positions slot_mapping kv_rows "
            "qv parts_out parts_lse"},
    Feature{"q and the pages are taken as they are: rotary embeddings are not applied", Neutral::off,
            "pos_encoding_mode rope_cos rope_sin rotary_cos rotary_sin cos sin cos_cache sin_cache cos_sin_cache "
            "seqlens_rotary q_rope_offset maybe_q_rope_offset"},
    Feature{"no weight is dropped", Neutral::off,
            "dropout dropout_p p_dropout attn_dropout attention_dropout dropout_mask"},
    Feature{"a request has one query token, which sees all of its tokens", Neutral::flag, "is_causal use_causal_mask"}};

/// "model.layers.0.self_attn.Sinks" as "sinks"; nothing of what is longer than any name that is known.
std::string plain(std::string_view name) {
  constexpr std::size_t kLongest = 64;
  std::string result(name.substr(name.find_last_of("./") + 1, kLongest + 1));
  if (result.size() > kLongest) return {};
  for (char& each : result) {
    if (each >= 'A' && each <= 'Z') each = static_cast<char>(each - 'A' + 'a');
    if (each == '-') each = '_';
  }
  return result;
}

bool has_word(std::string_view words, std::string_view word) {
  if (word.empty() || word.find(' ') != std::string_view::npos) return false;
  for (std::size_t at = words.find(word); at != std::string_view::npos; at = words.find(word, at + 1)) {
    const bool begins = at == 0 || words[at - 1] == ' ';
    const std::size_t end = at + word.size();
    if (begins && (end == words.size() || words[end] == ' ')) return true;
  }
  return false;
}

const Feature* feature_of(std::string_view name) {
  const std::string word = plain(name);
  const auto* const found = std::find_if(kFeatures.begin(), kFeatures.end(),
                                         [&](const Feature& feature) { return has_word(feature.names, word); });
  return found == kFeatures.end() ? nullptr : found;
}

/// "-1", "(-1, 0)", "[-1,-1]"
bool is_no_window(std::string_view text) {
  while (!text.empty() && std::string_view("([ ").find(text.front()) != std::string_view::npos) text.remove_prefix(1);
  const auto left = util::number_in<double>(text.substr(0, text.find_first_of(",)] ")));
  return left && *left < 0;
}

bool is_neutral(Neutral neutral, const std::string& text, const Safetensors& file) {
  const auto number = util::number_in<double>(text);
  const std::string word = text.find_first_of("./") == text.npos ? plain(text) : std::string();
  switch (neutral) {
    case Neutral::none:
      return false;
    case Neutral::one:
      return word == "none" || (number && *number == 1);
    case Neutral::off:
    case Neutral::no_bound:
      return word == "none" || word == "false" ||
             (number && (*number == 0 || (*number < 0 && neutral == Neutral::no_bound)));
    case Neutral::no_window:
      return is_no_window(text);
    case Neutral::flag:
      return flag_in(text).has_value();
    case Neutral::sm_scale: {
      const auto scale = metadata(file, "sm_scale");
      const auto given = scale ? util::number_in<double>(*scale) : std::nullopt;
      return number && given && static_cast<float>(*number) == static_cast<float>(*given);
    }
    case Neutral::description:
      return true;
  }
  return false;
}

// --- sizes, which the tensors' shapes say too ---

/// Of the kernel, or of all where it is empty.
std::vector<const KernelDescription*> kernels_called(std::string_view kernel) {
  std::vector<const KernelDescription*> found;
  for (const KernelKind* kind : kernel_kinds()) {
    if (kernel.empty() || description(*kind).name == kernel) found.push_back(&description(*kind));
  }
  return found;
}

/// The field of the kernel's spec that goes by that name here or in an engine.
std::string_view field_called(std::string_view name, std::string_view kernel) {
  for (const KernelDescription* const each : kernels_called(kernel)) {
    for (const Field& field : each->fields) {
      if (field.dtypes.empty() && (field.name == name || has_word(field.aliases, name))) return field.name;
    }
  }
  return {};
}

// --- the rest ---

/// The first ones by name, the others counted.
class Ignored {
 public:
  void add(std::string_view what, std::string_view name, std::span<const std::string_view> known) {
    constexpr std::size_t kNamed = 16;
    if (names_.size() < kNamed) {
      names_.push_back(
          fmt::format("{} {} is not known, and ignored{}", what, in_quotes(name), util::did_you_mean(name, known)));
    } else {
      ++more_;
    }
  }
  std::vector<std::string> take() && {
    if (more_ > 0) names_.push_back(fmt::format("{} more names are not known, and ignored", more_));
    return std::move(names_);
  }

 private:
  std::vector<std::string> names_;
  std::size_t more_ = 0;
};

/// The tensors that are read for a kernel; of all where it is empty.
std::vector<std::string_view> tensors_of(std::string_view kernel) {
  std::vector<std::string_view> tensors{"qo_indptr"};
  for (const KernelDescription* const each : kernels_called(kernel)) {
    for (const Operand& operand : each->operands) {
      if (operand.access == Access::write || operand.form == Form::scalar || operand.form == Form::count) continue;
      tensors.push_back(operand.name);
      std::string_view rest = operand.aliases;
      for (std::size_t end = 0; !rest.empty(); rest.remove_prefix(std::min(end + 1, rest.size()))) {
        end = std::min(rest.find(' '), rest.size());
        tensors.push_back(rest.substr(0, end));
      }
    }
  }
  return tensors;
}

bool is_in(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

UnreadNames unread_names(const Safetensors& file, std::string_view kernel) {
  const std::vector<std::string_view> tensors = tensors_of(kernel);
  UnreadNames result;
  Ignored ignored;
  constexpr std::size_t kRefused = 16;  // one is enough for a verdict
  for (const auto& [name, tensor] : file.tensors()) {
    if (is_in(tensors, name)) continue;
    if (const Feature* const feature = feature_of(name)) {
      if (result.refused.size() < kRefused)
        result.refused.push_back(fmt::format("tensor {}: {}", in_quotes(name), feature->supported));
    } else {
      ignored.add("tensor", name, tensors);
    }
  }
  for (const auto& [name, value] : file.metadata()) {
    if (is_in(kMetadata, name) || !field_called(plain(name), kernel).empty()) continue;
    const Feature* const feature = feature_of(name);
    const auto text = metadata(file, name);
    if (feature == nullptr || feature->neutral == Neutral::description) {
      ignored.add("metadata", name, kMetadata);
    } else if (text && !is_neutral(feature->neutral, *text, file) && result.refused.size() < kRefused) {
      result.refused.push_back(
          fmt::format("metadata {} is {}: {}", in_quotes(name), in_quotes(*text), feature->supported));
    }
  }
  result.ignored = std::move(ignored).take();
  return result;
}

void check_stated_sizes(const Safetensors& file, const StatedSizes& sizes, std::string_view kernel) {
  for (const auto& [name, value] : file.metadata()) {
    const auto text = metadata(file, name);
    const auto size = sizes.find(field_called(plain(name), kernel));
    if (!text || size == sizes.end()) continue;
    const auto stated = util::number_in<double>(*text);
    if (stated && *stated == static_cast<double>(size->second)) continue;
    throw Error(ErrorCode::unsupported,
                fmt::format("metadata {} is {}, but the tensors' shapes say {}, which is what is computed",
                            in_quotes(name), in_quotes(*text), size->second));
  }
}

std::string missing_tensor(const Safetensors& file, std::string_view name) {
  const std::vector<std::string_view> read = tensors_of({});
  for (const auto& [other, tensor] : file.tensors()) {
    if (is_in(read, other) || util::nearest(other, {&name, 1}).empty()) continue;
    return fmt::format("tensor {} is missing; there is {}", name, in_quotes(other));
  }
  return fmt::format("tensor {} is missing", name);
}

}  // namespace librt::tool
