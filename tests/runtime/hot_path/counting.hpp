// Counts what the calling thread does, outside of the stand-in's driver entries: allocations, locks, reads of the
// environment. By symbols of this executable that come before those of the C and C++ libraries.
#pragma once

#include <string>

namespace librt::test {

struct Counts {
  int allocations = 0;  ///< operator new, malloc and its kin
  int deallocations = 0;
  int locks = 0;        ///< of mutexes and reader-writer locks, and waits for conditions
  int environment = 0;  ///< getenv, secure_getenv

  friend bool operator==(const Counts&, const Counts&) = default;
};

std::string to_string(const Counts& counts);

/// While it lives, the calling thread is counted.
class Counting {
 public:
  Counting();
  ~Counting();
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;

  Counts counts() const;
};

}  // namespace librt::test
