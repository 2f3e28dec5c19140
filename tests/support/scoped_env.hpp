// Sets or unsets an environment variable for one scope. Not for tests with threads.
#pragma once

#include <stdlib.h>

#include <optional>
#include <string>

namespace librt::test {

class ScopedEnv {
 public:
  /// nullptr unsets.
  ScopedEnv(const char* name, const char* value) : name_(name) {
    if (const char* before = ::getenv(name)) before_ = before;
    set(value);
  }
  ~ScopedEnv() { set(before_ ? before_->c_str() : nullptr); }
  ScopedEnv(const ScopedEnv&) = delete;
  ScopedEnv& operator=(const ScopedEnv&) = delete;

 private:
  void set(const char* value) {
    if (value != nullptr) {
      ::setenv(name_, value, 1);
    } else {
      ::unsetenv(name_);
    }
  }

  const char* name_;
  std::optional<std::string> before_;
};

}  // namespace librt::test
