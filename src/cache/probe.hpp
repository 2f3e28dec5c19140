// What a directory is good for, found out by trying.
#pragma once

#include <string>

#include "src/cache/io_ops.hpp"

namespace librt::cache {

struct Probe {
  std::string file_system;    // "ext4", "nfs"; a number in hexadecimal where the name is not known; empty if not known
  bool over_network = false;  // other machines may see what is published late
  std::string write_problem;  // why no file can be made in it; empty if one can
  std::string lock_problem;   // why flock does not keep a second process out; empty if it does
};

/// Makes a temporary file in the directory, locks it twice, and removes it. Asks nobody whether it may be trusted: the
/// parent of a cache that does not exist yet is anybody's.
Probe probe(const std::string& directory, IoOps& io = system_io());

}  // namespace librt::cache
