// librt check: is a dumped paged KV cache sound?
#include <fmt/format.h>

#include <memory>

#include "src/util/text.hpp"
#include "tools/librt/cache_dump.hpp"
#include "tools/librt/check_values.hpp"
#include "tools/librt/metadata.hpp"
#include "tools/librt/page_owners.hpp"
#include "tools/librt/tensor_file.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

struct CheckSettings {
  bool json = false;
  std::string input;
};

struct Checked {
  std::string kernel;
  Findings findings;
};

Checked check_file(const std::string& path) {
  Checked checked;
  try {
    const util::Safetensors file = util::Safetensors::load(path);
    const auto kernel = metadata(file, "kernel");
    const KernelKind* const kind = kernel ? find_kernel(*kernel) : nullptr;
    if (kind != nullptr && description(*kind).split == nullptr && !description(*kind).internal) {
      checked.kernel = *kernel;
      static_cast<void>(read_tensor_file(path));  // throws what is wrong with it
      return checked;
    }
    const CacheDump dump = read_cache_dump(file, checked.findings);
    checked.kernel = dump.kernel;
    const PageOwners owners(dump, checked.findings);
    check_values(dump, owners, checked.findings);
  } catch (const Error& error) {
    // What cannot be read at all says nothing about a cache; what is damaged does.
    if (error.code() != ErrorCode::invalid_argument) throw;
    checked.findings.problems.add("file", error.what());
  }
  return checked;
}

std::string conclusion(const std::string& path, const Findings& findings) {
  const std::size_t problems = findings.problems.total();
  if (problems > 0 && findings.problems.total("unsupported") == problems) {
    return fmt::format("{} cannot be judged: {}", path, findings.problems.listed().front().what);
  }
  if (problems > 0) {
    return fmt::format("{} is not sound: {} {}; the first: {}", path, problems, problems == 1 ? "problem" : "problems",
                       findings.problems.listed().front().what);
  }
  std::string words;
  for (const auto& note : findings.notes.listed()) {
    if (note.kind == "padding") words = ", with NaN or Inf in padding, where it is harmless";
  }
  return fmt::format("{} is sound{}", path, words);
}

int check(const CheckSettings& settings) {
  const Checked checked = check_file(settings.input);
  const Findings& findings = checked.findings;
  const bool sound = findings.problems.total() == 0;
  if (settings.json) {
    print_json(Json{{"file", settings.input},
                    {"kernel", checked.kernel.empty() ? Json() : Json(checked.kernel)},
                    {"sound", sound},
                    {"problem_count", findings.problems.total()},
                    {"problems", findings.problems.to_json()},
                    {"notes", findings.notes.to_json()}});
  } else {
    print(findings.problems.to_text("problem", Style::bad) + findings.notes.to_text("note", Style::warning));
  }
  say(conclusion(settings.input, findings));
  return sound ? kDone : kProblemFound;
}

}  // namespace

void add_check(CLI::App& tool, int& exit_code) {
  auto settings = std::make_shared<CheckSettings>();
  CLI::App* const verb =
      add_verb(tool, "check", "Tell whether a dumped paged KV cache is sound: page ids, lengths, NaN",
               "librt check batch.safetensors\n\nExit code 0 if it is sound. NaN and Inf in padding, "
               "and pages that several requests share, are notes, not problems.",
               settings->json);
  verb->add_option("input", settings->input, "A file as `librt run` reads it; `librt run --help` says what it holds")
      ->required()
      ->type_name("IN.safetensors");
  verb->callback([settings, &exit_code] { exit_code = check(*settings); });
}

}  // namespace librt::tool
