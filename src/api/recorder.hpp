// Options::record: what a run asked for, as a manifest.
#pragma once

#include <librt/manifest.hpp>

#include <set>
#include <string>

#include "src/util/log.hpp"
#include "src/util/per_process.hpp"

namespace librt::api {

/// Thread safe. Writes at each new request, so that the file is complete at any exit, and a killed process loses
/// nothing but what another process kept it from writing: no request waits for that one for long. Best effort: never
/// throws, and warns once.
class Recorder {
 public:
  /// @param path empty = records nothing.
  Recorder(const std::string& path, util::Log log);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void note(const Spec& spec, const Arch& arch) noexcept;

 private:
  struct State {
    std::set<std::string> noted;  // "ARCH SPEC"
    Manifest pending;             // what the file may lack still
    bool kept_out = false;        // by another process, the last time
    bool given_up = false;
    bool warned = false;
  };

  enum class When { in_a_request, at_the_end };

  /// What to warn of, if anything: said without the lock, since the one who is told may ask for a kernel.
  std::string write(State& state, When when);
  void warn(const std::string& problem) const;
  /// False if another process keeps the file.
  bool add_to_file(State& state, When when) const;

  std::string path_;  // absolute
  util::Log log_;
  util::PerProcess<State> state_;  // a forked child notes anew: the file has what the parent noted
};

}  // namespace librt::api
