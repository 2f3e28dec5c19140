#include "tests/cli/terminal_session.hpp"

#include <catch2/catch.hpp>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

namespace librt::test {

bool can_make_terminal() {
  int terminal = -1, tty = -1;
  const bool can = ::openpty(&terminal, &tty, nullptr, nullptr, nullptr) == 0;
  if (!can) WARN("skipped: no terminal can be made here (is /dev/pts mounted?)");
  ::close(terminal);
  ::close(tty);
  return can;
}

Shown run_in_terminal(const Tool& tool, const std::vector<std::string>& words, unsigned short columns,
                      Variables variables) {
  variables.emplace("LIBRT_CACHE_DIR", tool.cache());
  variables.emplace("TERM", "xterm");
  variables.emplace("NO_COLOR", "");
  std::vector<std::string> environment = environment_with(variables), arguments{LIBRT_TOOL};
  arguments.insert(arguments.end(), words.begin(), words.end());
  std::vector<char*> environment_list, argument_list;
  for (std::string& each : environment) environment_list.push_back(each.data());
  for (std::string& each : arguments) argument_list.push_back(each.data());
  environment_list.push_back(nullptr);
  argument_list.push_back(nullptr);

  winsize size{};
  size.ws_row = 24;
  size.ws_col = columns;
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (child < 0) throw std::runtime_error("no terminal can be made");
  if (child == 0) {
    ::execve(LIBRT_TOOL, argument_list.data(), environment_list.data());
    ::_exit(99);
  }
  Shown shown;
  char bytes[4096];
  for (;;) {
    const ssize_t count = ::read(terminal, bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;  // EIO: nobody has the terminal any more
    shown.text.append(bytes, static_cast<std::size_t>(count));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  ::close(terminal);
  shown.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return shown;
}

std::vector<std::string> drawn_lines(std::string_view text) {
  std::vector<std::string> lines(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' || text[i] == '\r') {
      lines.emplace_back();
    } else if (text[i] == '\x1b') {  // ESC [ parameters letter
      while (i + 1 < text.size() && (text[i] < '@' || text[i] > 'z' || text[i] == '[')) ++i;
    } else {
      lines.back() += text[i];
    }
  }
  return lines;
}

}  // namespace librt::test
