// librt run and check on files with more in them than is read: what would change the result is refused by name.
#include <catch2/catch.hpp>

#include "tests/cli/batch.hpp"
#include "tests/cli/process.hpp"
#include "tests/support/kernels_copy.hpp"

using librt::test::Batch;
using librt::test::FileContents;
using librt::test::Finished;
using librt::test::Tool;

namespace {

FileContents gqa() {
  return Batch(librt::test::gqa_shape(), {13, 0, 6}, 3).file();
}

/// Both verbs refuse the file, and say `named` and, where it is given, what is supported.
void check_refused(const Tool& tool, const FileContents& file, const std::string& named) {
  const std::string in = tool.file("in.safetensors");
  const std::string out = tool.file("out.safetensors");
  file.write(in);
  const Finished ran = tool({"run", in, "-o", out, "--device", "virtual"});
  CHECK(ran.exit_code == 1);
  CHECK_THAT(ran.err, Catch::Contains(named));
  CHECK_FALSE(std::filesystem::exists(out));
  const Finished checked = tool({"check", in, "--json"});
  CHECK(checked.exit_code == 1);
  const auto json = checked.json();
  CHECK(json["sound"] == false);
  REQUIRE(json["problem_count"] == 1);
  CHECK(json["problems"][0]["kind"] == "unsupported");
  CHECK_THAT(json["problems"][0]["what"].get<std::string>(), Catch::Contains(named));
  CHECK_THAT(checked.err, Catch::Contains("cannot be judged: ") && Catch::Contains(named));
}

FileContents with_tensor(const std::string& name) {
  FileContents file = gqa();
  file.tensors[name] = {"F32", {8}, std::vector<std::byte>(32)};
  return file;
}

FileContents with_metadata(const std::string& name, const std::string& value) {
  FileContents file = gqa();
  file.metadata[name] = value;
  return file;
}

}  // namespace

TEST_CASE("cli run, check: tensors that would change the result are refused by name", "[cli]") {
  const Tool tool;
  for (const char* const name : {"sinks",
                                 "s_aux",
                                 "attn_sink",
                                 "learnable_sink",
                                 "alibi_slopes",
                                 "attn_bias",
                                 "custom_mask",
                                 "attention_mask",
                                 "mask",
                                 "block_table",
                                 "block_tables",
                                 "page_table",
                                 "kv_len",
                                 "seq_lens",
                                 "cache_seqlens",
                                 "context_lens",
                                 "cu_seqlens_q",
                                 "k_scale",
                                 "v_scale",
                                 "kpe_scale",
                                 "k_descale",
                                 "kv_token_indices",
                                 "kv_list_len",
                                 "kv_block_indices",
                                 "topk_indices",
                                 "kv_rows",
                                 "append_positions",
                                 "k_new",
                                 "rotary_cos",
                                 "qv",
                                 "Sinks",
                                 "layers.0.sinks",
                                 "self-attn/S-Aux",
                                 "q_rope_offset",
                                 "k_zero_points",
                                 "cache_leftpad"}) {
    CAPTURE(name);
    check_refused(tool, with_tensor(name), "tensor \"" + std::string(name) + "\": ");
  }
}

TEST_CASE("cli run, check: metadata that would change the result are refused by name and value", "[cli]") {
  const Tool tool;
  const std::vector<std::pair<std::string, std::string>> metadata = {{"window_left", "128"},
                                                                     {"window_left", "0"},
                                                                     {"logits_soft_cap", "30"},
                                                                     {"sliding_window", "4096"},
                                                                     {"window_size", "(64, 0)"},
                                                                     {"softcap", "50.0"},
                                                                     {"logit_cap", "30"},
                                                                     {"attn_logit_softcapping", "50"},
                                                                     {"kv_scale", "tensor"},
                                                                     {"k_scale", "0.5"},
                                                                     {"kv_block", "64"},
                                                                     {"alibi_slopes", "0.5"},
                                                                     {"use_alibi", "True"},
                                                                     {"softmax_scale", "0.5"},
                                                                     {"scale", "1"},
                                                                     {"pos_encoding_mode", "ROPE_LLAMA"},
                                                                     {"attention_chunk", "8192"},
                                                                     {"attn_temperature", "2"},
                                                                     {"sinks", "yes"},
                                                                     {"dropout_p", "0.1"},
                                                                     {"k_zero_point", "-8"},
                                                                     {"k_scale", "x/none"},
                                                                     {"v_zero_points", "-8"},
                                                                     {"alibi_slopes", "-0.5"},
                                                                     {"attn_bias", "-3"},
                                                                     {"rope_cos", "-1"},
                                                                     {"head_dim", "128"},
                                                                     {"v_head_dim", "32"},
                                                                     {"head_dim_vo", "48"},
                                                                     {"page_size", "16"},
                                                                     {"num_kv_heads", "8"},
                                                                     {"num_qo_heads", "32"},
                                                                     {"block_size", "x"},
                                                                     {"is_causal", "maybe"}};
  for (const auto& [name, value] : metadata) {
    CAPTURE(name, value);
    const FileContents file = with_metadata(name, value);
    const bool read = name == "window_left" || name == "logits_soft_cap";
    check_refused(
        tool, file,
        read ? "metadata " + name + " is \"" + value + "\"; " : "metadata \"" + name + "\" is \"" + value + "\"");
  }
}

TEST_CASE("cli run, check: metadata that are read have a range, and contradict nothing", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  const auto refused = [&](const FileContents& file, const std::string& named) {
    file.write(in);
    const Finished ran = tool({"run", in, "-o", tool.file("out.safetensors"), "--device", "virtual"});
    CHECK(ran.exit_code == 1);
    CHECK_THAT(ran.err, Catch::Contains(named));
    const Finished checked = tool({"check", in});
    CHECK(checked.exit_code == 1);
    CHECK_THAT(checked.out, Catch::Contains(named));
  };
  refused(with_metadata("window_left", "-2"), "metadata window_left is \"-2\"; allowed: -1 (none)");
  refused(with_metadata("window_left", "1.5"), "metadata window_left is \"1.5\"; allowed: -1 (none)");
  refused(with_metadata("logits_soft_cap", "nan"), "metadata logits_soft_cap is \"nan\"; allowed: 0 (none)");
  refused(with_metadata("mask", "sliding"), "metadata mask is \"sliding\"; allowed: causal, none");
  refused(with_metadata("causal", "maybe"), "metadata causal is \"maybe\"; allowed: true, false");
  FileContents both = with_metadata("mask", "none");
  both.metadata["causal"] = "true";
  refused(both, "mask is \"none\", but causal is \"true\"");
}

TEST_CASE("cli run, check: names that change nothing are accepted, those that nobody knows told", "[cli]") {
  const Tool& tool = librt::test::shared_tool();
  const std::string in = tool.file("names.safetensors");
  const std::string out = tool.file("names-out.safetensors");
  gqa().write(in);
  REQUIRE(tool({"run", in, "-o", out, "--device", "virtual"}).exit_code == 0);
  const auto expected = librt::test::read_output(out).bits;
  const auto notes = [&](const FileContents& file) {
    file.write(in);
    const Finished ran = tool({"run", in, "-o", out, "--device", "virtual"});
    INFO(ran.err);
    CHECK(ran.exit_code == 0);
    CHECK(librt::test::read_output(out).bits == expected);
    const Finished checked = tool({"check", in, "--json"});
    CHECK(checked.exit_code == 0);
    CHECK(checked.json()["sound"] == true);
    return ran.err;
  };
  FileContents file = gqa();
  for (const auto& [name, value] : std::map<std::string, std::string>{{"window_left", "-1"},
                                                                      {"sliding_window", "None"},
                                                                      {"window_size", "(-1, -1)"},
                                                                      {"softcap", "0.0"},
                                                                      {"k_scale", "1.0"},
                                                                      {"kv_scale", "none"},
                                                                      {"alibi_slopes", "None"},
                                                                      {"is_causal", "False"},
                                                                      {"mask", "causal"},
                                                                      {"causal", "1"},
                                                                      {"dropout_p", "0"},
                                                                      {"pos_encoding_mode", "NONE"},
                                                                      {"logits_soft_cap", "0"},
                                                                      {"use_alibi", "False"},
                                                                      {"sinks", ""},
                                                                      {"head_dim", "64"},
                                                                      {"page_size", "4"},
                                                                      {"num_kv_heads", "2"},
                                                                      {"xai_temperature_len", "-1"}}) {
    file.metadata[name] = value;
  }
  file.metadata["softmax_scale"] = file.metadata.at("sm_scale");
  file.set_integers("qo_indptr", {0, 1, 2, 3});
  CHECK_THAT(notes(file), !Catch::Contains("ignored"));

  file = gqa();
  file.set_integers("kv_indices_", {1});
  file.metadata["model"] = "llama";
  file.metadata["seq_len"] = "13";
  const std::string said = notes(file);
  CHECK_THAT(said, Catch::Contains("tensor \"kv_indices_\" is not known, and ignored; did you mean kv_indices?"));
  CHECK_THAT(said, Catch::Contains("metadata \"model\" is not known, and ignored"));
  CHECK_THAT(said, Catch::Contains("metadata \"seq_len\" is not known, and ignored"));

  for (int i = 0; i < 1000; ++i) file.metadata["unknown " + std::to_string(i)] = "x";
  CHECK(notes(file).size() < 4000);
}

TEST_CASE("cli run, check: a tensor under a name like it is told where one is missing", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  FileContents file = gqa();
  file.tensors["kv_last_page_lens"] = file.tensors.at("kv_last_page_len");
  file.tensors.erase("kv_last_page_len");
  file.write(in);
  const std::string expected = "tensor kv_last_page_len is missing; there is \"kv_last_page_lens\"";
  CHECK_THAT(tool({"run", in, "-o", tool.file("out")}).err, Catch::Contains(expected));
  CHECK_THAT(tool({"check", in}).out, Catch::Contains(expected));
  file = gqa();
  file.tensors.erase("k_pages");  // v_pages is no misspelling of it
  file.write(in);
  CHECK_THAT(tool({"run", in, "-o", tool.file("out")}).err, Catch::Contains("tensor k_pages is missing\n"));
}

TEST_CASE("cli: nothing of a file, a variable or a word that is typed reaches the terminal raw or whole", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  const std::string hostile = "\x1b[31m\x07\xc2\x9b" + std::string(200'000, 'A');
  const auto check_tame = [](const Finished& finished) {
    CHECK(finished.exit_code != 0);
    const std::string all = finished.out + finished.err;
    CHECK(all.size() < 10'000);
    CHECK(all.find('\x1b') == std::string::npos);
    CHECK(all.find('\x07') == std::string::npos);
    CHECK(all.find("\xc2\x9b") == std::string::npos);
  };
  const auto check_file = [&](const FileContents& file) {
    file.write(in);
    check_tame(tool({"run", in, "-o", tool.file("out"), "--device", "virtual"}));
    check_tame(tool({"check", in}));
  };
  for (const char* const name : {"kernel", "sm_scale", "kv_layout", "causal", "mask", "window_left", "logits_soft_cap",
                                 "softcap", "kv_scale", "head_dim"}) {
    CAPTURE(name);
    check_file(with_metadata(name, hostile));
  }
  FileContents file = gqa();
  file.tensors.erase("q");
  file.metadata[hostile] = hostile;
  file.tensors[hostile] = {"F32", {1}, std::vector<std::byte>(4)};
  check_file(file);
  check_file(with_tensor("a." + hostile.substr(0, 100) + ".sinks"));

  const std::string word = hostile.substr(0, 100'000);  // of one argument there may be 128 KiB
  const std::vector<std::string> mla{"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16"};
  const auto with = [&](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return tool(words);
  };
  check_tame(with(mla, {"--arch", word}));
  check_tame(with(mla, {"--arch", "sm_80", word + "=1"}));
  check_tame(with(mla, {"--arch", "sm_80", "-o", "/" + word}));
  check_tame(tool({"compile", "gqa_decode", "dtype=" + word, "--arch", "sm_80"}));
  check_tame(tool({"compile", word, "--arch", "sm_80"}));
  check_tame(tool({word}));
  check_tame(tool({"--" + word}));
  check_tame(tool({"check", "/" + word}));
  check_tame(tool({"run", "/" + word, "-o", "/" + word}));
  check_tame(tool({"run", in, "-o", tool.file("out"), "--device", word}));
  check_tame(tool({"cache", "show", word}));
  check_tame(tool({"cache", "gc", "--max-size", word}));
  check_tame(tool({"cache", "prewarm", word, "--arch", "sm_80"}));
  for (const char* const variable : {"LIBRT_LOG", "LIBRT_CACHE_MODE", "LIBRT_CACHE_MAX_SIZE", "LIBRT_CACHE_TRUST",
                                     "LIBRT_CACHE_FSYNC", "LIBRT_LOCK_TIMEOUT_MS"}) {
    CAPTURE(variable);
    check_tame(tool({"doctor"}, {{variable, word}}));
  }
  librt::test::write_text(
      in, "{\"specs\": [\"mla_decode dtype=\\u001b[31m" + word.substr(20) + "\"], \"archs\": [\"sm_80\"]}");
  check_tame(tool({"cache", "prewarm", in}));
  librt::test::write_text(in, "{\"specs\": [], \"\\u001b[31m" + word.substr(20) + "\": 1}");
  check_tame(tool({"cache", "prewarm", in}));

  // A compiler repeats the line that it refuses.
  const std::string kernels = tool.file("kernels");
  librt::test::write_kernels(kernels);
  librt::test::write_text(kernels + "/gqa_decode/gqa_decode.cuh", "#error \x1b[31m\x07\n");
  const Finished refused = tool({"compile", "gqa_decode", "dtype=f16", "num_qo_heads=8", "num_kv_heads=2",
                                 "head_dim=64", "page_size=16", "--arch", "compute_80"},
                                {{"LIBRT_KERNELS_DIR", kernels}});
  check_tame(refused);
  CHECK_THAT(refused.err, Catch::Contains("\\x1b[31m"));
}
