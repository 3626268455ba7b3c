#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace lapidary {

/// Adds --config FILE to every command below `app`.
void add_config_options(CLI::App& app);

/// The arguments of a command line (without the program), with what the file of its --config says put behind
/// them. Keys of the YAML file are the command's long flags without dashes, `true` sets a flag, a list
/// repeats an option. A flag of the command line wins over the file. Throws a sentence that names file, line
/// and key where a key is none of the command's, or a value is no value.
std::vector<std::string> with_config_file(const CLI::App& app, std::vector<std::string> arguments);

}  // namespace lapidary
