#include "coordinator/cli/config_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <ios>
#include <set>

#include "configs/error.h"

namespace lapidary {
namespace {

/// The command that the arguments name: "bench", "model" lead to the command of two words.
const CLI::App& named_command(const CLI::App& app, const std::vector<std::string>& arguments) {
  const CLI::App* command = &app;
  for (const std::string& argument : arguments) {
    const auto below =
        command->get_subcommands([&](const CLI::App* one) { return one->get_name() == argument; });
    if (below.empty()) break;
    command = below.front();
  }
  return *command;
}

/// "lapidary bench model"
std::string full_name(const CLI::App& command) {
  const CLI::App* above = command.get_parent();
  return above == nullptr ? command.get_name() : full_name(*above) + " " + command.get_name();
}

/// FILE of "--config FILE" or "--config=FILE"; empty: there is none.
std::string file_of(const std::vector<std::string>& arguments) {
  const std::string flag = "--config";
  for (size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    if (arguments[i].starts_with(flag + "=")) return arguments[i].substr(flag.size() + 1);
    if (arguments[i] == flag && i + 1 < arguments.size()) return arguments[i + 1];
  }
  return {};
}

/// Whether the command line gives the option, by any of its names.
bool is_given(const CLI::Option& option, const std::vector<std::string>& arguments) {
  return std::ranges::any_of(option.get_lnames(), [&](const std::string& name) {
    const std::string flag = "--" + name;
    return std::ranges::any_of(arguments, [&](const std::string& argument) {
      return argument == flag || argument.starts_with(flag + "=");
    });
  });
}

class ConfigFile {
 public:
  ConfigFile(std::string path, const CLI::App& command) : path_(std::move(path)), command_(command) {}

  std::vector<std::string> arguments(const std::vector<std::string>& given) const {
    const YAML::Node root = load();
    std::vector<std::string> added;
    std::set<const CLI::Option*> seen;
    if (root.IsNull()) return added;
    if (!root.IsMap()) fail(path_, ": the file is no map of options, such as \"tp: 2\"");
    for (const auto& entry : root) {
      if (!entry.first.IsScalar()) fail(where(entry.first), ": a key is the name of an option");
      const auto key = entry.first.as<std::string>();
      const CLI::Option* option = command_.get_option_no_throw("--" + key);
      if (option == nullptr || key == "config" || key == "help")
        fail(where(entry.first), ": \"", key, "\" is no option of ", full_name(command_));
      if (!seen.insert(option).second)
        fail(where(entry.first), ": \"", key, "\" is an option that the file has already given");
      if (is_given(*option, given)) continue;
      const YAML::Node& value = entry.second;
      if (value.IsSequence() && option->get_items_expected_min() > 1) {
        added.push_back("--" + key);
        for (const YAML::Node& one : value) added.push_back(word(key, one));
      } else if (value.IsSequence()) {
        for (const YAML::Node& one : value) add(added, *option, key, one);
      } else {
        add(added, *option, key, value);
      }
    }
    return added;
  }

 private:
  YAML::Node load() const {
    try {
      return YAML::LoadFile(path_);
    } catch (const YAML::BadFile&) {
      fail("--config: cannot read ", path_);
    } catch (const std::ios_base::failure&) {  // a folder
      fail("--config: cannot read ", path_);
    } catch (const YAML::Exception& error) {
      fail(path_, ":", error.mark.line + 1, ": ", error.msg);
    }
  }
  std::string where(const YAML::Node& node) const { return cat(path_, ":", node.Mark().line + 1); }

  std::string word(const std::string& key, const YAML::Node& value) const {
    if (!value.IsScalar()) fail(where(value), ": ", key, " needs a value");
    return value.as<std::string>();
  }

  void add(std::vector<std::string>& added, const CLI::Option& option, const std::string& key,
           const YAML::Node& value) const {
    const std::string text = word(key, value);
    if (option.get_items_expected_max() > 0) return added.push_back(cat("--", key, "=", text));
    if (text == "true") return added.push_back("--" + key);
    if (text != "false") fail(where(value), ": ", key, " is true or false, not '", text, "'");
  }

  std::string path_;
  const CLI::App& command_;
};

}  // namespace

void add_config_options(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    add_config_options(*command);
    if (!command->get_subcommands([](const CLI::App*) { return true; }).empty()) continue;
    // Read by with_config_file() before the command line is parsed.
    command->add_option_function<std::string>(
        "--config", [](const std::string&) {},
        "YAML file of options: keys are flags without dashes (\"max-num-seqs: 16\"); flags given here win");
  }
}

std::vector<std::string> with_config_file(const CLI::App& app, std::vector<std::string> arguments) {
  const std::string file = file_of(arguments);
  if (file.empty()) return arguments;
  std::vector<std::string> added = ConfigFile(file, named_command(app, arguments)).arguments(arguments);
  // Behind the last flag, before what "--" ends the flags with.
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  arguments.insert(end, added.begin(), added.end());
  return arguments;
}

}  // namespace lapidary
