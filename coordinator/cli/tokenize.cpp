#include <cstdio>
#include <fstream>
#include <iostream>
#include <optional>

#include "configs/error.h"
#include "coordinator/cli/commands.h"
#include "coordinator/text/json_text.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

struct TokenizeOptions {
  std::filesystem::path model;
  std::optional<std::string> text;
  std::filesystem::path file;  // empty: standard input
  bool json = false;
  bool skip_special = false;
};

/// Calls line(text, number) for --text as it is, else for each line of the file or of standard input.
void for_each_line(const TokenizeOptions& options,
                   const std::function<void(const std::string&, int64_t)>& line) {
  if (options.text) return line(*options.text, 1);
  std::ifstream file;
  if (!options.file.empty()) {
    file.open(options.file, std::ios::binary);
    if (!file || std::filesystem::is_directory(options.file))
      fail(options.file.string(), ": cannot be opened");
  }
  std::istream& in = options.file.empty() ? std::cin : file;
  int64_t number = 0;
  for (std::string text; std::getline(in, text);) line(text, ++number);
}

std::string place(const TokenizeOptions& options, int64_t number) {
  if (options.text) return "--text";
  return cat(options.file.empty() ? "standard input" : options.file.string(), ", line ", number);
}

std::string ids_text(const std::vector<int32_t>& ids) {
  std::string text;
  for (int32_t id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return text;
}

std::string json_line(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  std::string pieces, numbers;
  for (int32_t id : ids) {
    pieces += (pieces.empty() ? "" : ", ") + json_string(tokenizer.token(id));
    numbers += (numbers.empty() ? "" : ", ") + std::to_string(id);
  }
  return "{\"ids\": [" + numbers + "], \"pieces\": [" + pieces + "]}";
}

/// Output that the disk or a closed pipe refused is an error, not a success.
void check_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) fail("cannot write to standard output");
}

int run_tokenize(const TokenizeOptions& options) {
  const Tokenizer tokenizer = Tokenizer::from_file(options.model);
  for_each_line(options, [&](const std::string& text, int64_t number) {
    require_utf8(text, place(options, number));
    const auto ids = tokenizer.encode(text);
    std::printf("%s\n", (options.json ? json_line(tokenizer, ids) : ids_text(ids)).c_str());
  });
  check_output();
  return 0;
}

std::vector<int32_t> parse_ids(const std::string& text, const std::string& where) {
  std::vector<int32_t> ids;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    char* end = nullptr;
    errno = 0;
    const long value = std::strtol(word.c_str(), &end, 10);
    if (*end != '\0' || errno != 0 || value < 0 || value > INT32_MAX)
      fail(where, ": '", word, "' is not a token id");
    ids.push_back(static_cast<int32_t>(value));
  }
  return ids;
}

int run_detokenize(const TokenizeOptions& options) {
  const Tokenizer tokenizer = Tokenizer::from_file(options.model);
  for_each_line(options, [&](const std::string& text, int64_t number) {
    const auto ids = parse_ids(text, place(options, number));
    const std::string decoded = tokenizer.decode(ids, options.skip_special);
    std::printf("%s\n", (options.json ? json_string(decoded) : decoded).c_str());
  });
  check_output();
  return 0;
}

CLI::App& add_command(CLI::App& app, TokenizeOptions& options, const char* name, const char* what,
                      const char* text) {
  CLI::App& command = *app.add_subcommand(name, what);
  command.add_option("--model", options.model, "Checkpoint folder, or a tokenizer.json")->required();
  CLI::Option* given = command.add_option("--text", options.text, text);
  command
      .add_option("file", options.file, "File to read line by line; neither this nor --text: standard input")
      ->excludes(given);
  return command;
}

}  // namespace

void add_tokenize_commands(CLI::App& app, SelectedCommand& chosen) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App& there =
      add_command(app, *options, "tokenize", "Text to token ids, a line of ids for each line of text",
                  "The text, taken as it is, line breaks included");
  there.add_flag("--json", options->json, "A line {\"ids\": […], \"pieces\": […]} each");
  there.footer(
      "No special tokens are added; those that are written in the text (<bos>, <loc0012>) count as tokens.");
  when_selected(there, chosen, [options] { return run_tokenize(*options); });

  options = std::make_shared<TokenizeOptions>();
  CLI::App& back =
      add_command(app, *options, "detokenize", "Token ids to text, a line each", "The ids, apart by spaces");
  back.add_flag("--skip-special", options->skip_special, "Leave out <bos>, <eos>, <image>, …");
  back.add_flag("--json", options->json,
                "Each text as a JSON string: the only form in which a text with line breaks "
                "stays one line");
  when_selected(back, chosen, [options] { return run_detokenize(*options); });
}

}  // namespace lapidary
