#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace lapidary {

/// The command that the arguments named. Parsing only fills it in; main runs it afterwards, so that a usage
/// error (exit code 2) and a failed command (one sentence, exit code 1) stay apart.
struct SelectedCommand {
  std::string name;
  std::function<int()> run;  // gives the exit code; throws Error
};

/// Each describes its options below `app` and, when its command is named, sets `chosen`. Options live as long
/// as the app. No option may be checked against the file system while parsing: every rank must parse alike.
void add_caption_command(CLI::App& app, SelectedCommand& chosen);
void add_inspect_command(CLI::App& app, SelectedCommand& chosen);
void add_tokenize_commands(CLI::App& app, SelectedCommand& chosen);  // tokenize, detokenize
void add_trace_command(CLI::App& app, SelectedCommand& chosen);
void add_worker_command(CLI::App& app, SelectedCommand& chosen);
void add_serve_command(CLI::App& app, SelectedCommand& chosen);
void add_bench_command(CLI::App& app, SelectedCommand& chosen);

/// `run` when `command` is named ("caption", "bench model").
inline void when_selected(CLI::App& command, SelectedCommand& chosen, std::function<int()> run) {
  std::string name = command.get_name();
  for (const CLI::App* above = command.get_parent(); above->get_parent() != nullptr;
       above = above->get_parent())
    name = above->get_name() + " " + name;
  command.callback([&chosen, name, run = std::move(run)] { chosen = {name, run}; });
}

}  // namespace lapidary
