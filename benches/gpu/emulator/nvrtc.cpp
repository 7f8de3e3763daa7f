// The run-time compiler: g++ makes a library of a kernel's source, and the "PTX" says where it lies.
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Status { OK = 0, INVALID_INPUT = 3, INVALID_PROGRAM = 4, COMPILATION = 6 };

struct Program {
  std::string source, name, ptx, log;
};

struct Failure {
  std::string log;
};

std::string read(const std::string &path) {
  std::ifstream file(path);
  std::stringstream all;
  all << file.rdbuf();
  return all.str();
}

std::string quoted(const std::string &text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

// The folder that this library lies in, and its headers with it.
std::string home() {
  Dl_info info;
  dladdr(reinterpret_cast<void *>(&home), &info);
  std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/'));
}

// Compiled kernels stay between runs: a second of g++ for each would be most of a test's time.
std::string cache() {
  const char *given = std::getenv("KILN_EMULATED_CACHE"), *temporary = std::getenv("TMPDIR");
  std::string path = given ? given : std::string(temporary ? temporary : "/tmp") + "/kiln-emulated-" + std::to_string(getuid());
  mkdir(path.c_str(), 0700);
  struct stat status;
  // It is code that is run from there.
  if (lstat(path.c_str(), &status) || !S_ISDIR(status.st_mode) || status.st_uid != getuid())
    throw Failure{path + " is not a folder of this user's"};
  return path;
}

unsigned long long hash(const std::string &text) {
  unsigned long long state = 14695981039346656037ull;
  for (unsigned char c : text) state = (state ^ c) * 1099511628211ull;
  return state;
}

// -march=native makes a library this processor's own.
std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (!line.compare(0, 5, "flags")) return line;
  return "";
}

// Runs it, and answers with what it said on both outputs.
int command(const std::string &line, std::string &output) {
  FILE *pipe = popen((line + " 2>&1").c_str(), "r");
  if (!pipe) throw Failure{"cannot run " + line};
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe));) output.append(buffer, n);
  return pclose(pipe);
}

// A folder for one compilation, which goes with all that is in it.
struct Scratch {
  std::string base;
  std::vector<std::string> files;
  explicit Scratch(const std::string &in) : base(in + "/XXXXXX") {
    if (!mkdtemp(base.data())) throw Failure{"cannot make a folder in " + in};
  }
  std::string file(const char *name) { return files.emplace_back(base + "/" + name); }
  ~Scratch() {
    for (auto &path : files) unlink(path.c_str());
    rmdir(base.c_str());
  }
};

// What g++ accepts for the sake of the prelude's own headers, and nvrtc does not.
void refuse(const std::string &source, const std::string &text, bool includes) {
  if (includes) return;
  if (std::regex_search(source, std::regex("(^|\\n)\\s*#\\s*include")))
    throw Failure{"error: could not open source file: nvrtc has no headers without --include-path"};
  if (std::regex_search(text, std::regex("\\bstd\\s*::(?!\\s*(move|forward)\\b)")))
    throw Failure{"error: name followed by \"::\" must be a class or namespace name: std"};
  static const char *const words[] = {"int8_t",   "int16_t",  "int32_t",  "int64_t", "uint8_t",
                                      "uint16_t", "uint32_t", "uint64_t", "uintptr_t"};
  for (const char *word : words) {
    std::string name(word);
    if (std::regex_search(text, std::regex("\\b" + name + "\\b")) &&
        !std::regex_search(text, std::regex("typedef[^;]*\\b" + name + "\\s*;|using\\s+" + name + "\\s*=")))
      throw Failure{"error: identifier \"" + name + "\" is undefined"};
  }
}

// `from` points at "(": where its partner is.
size_t partner(const std::string &text, size_t from) {
  int depth = 0;
  for (size_t i = from; i < text.size(); i++) {
    depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
    if (!depth) return i;
  }
  throw Failure{"error: expected a \")\""};
}

// For each kernel in the preprocessed text, a function that is found by name and unpacks its arguments. From there rather
// than from the source, for kernels that come out of a macro.
std::string trampolines(const std::string &text) {
  std::string out;
  static const std::regex kernel("extern\\s*\"C\"\\s*__global__\\s*");
  for (std::sregex_iterator i(text.begin(), text.end(), kernel), end; i != end; ++i) {
    size_t at = i->position() + i->length();
    std::string bounds, word;
    for (;;) {
      while (at < text.size() && std::isspace((unsigned char)text[at])) at++;
      size_t start = at;
      while (at < text.size() && (std::isalnum((unsigned char)text[at]) || text[at] == '_')) at++;
      if (at == start) break;
      word = text.substr(start, at - start);
      if (word == "__launch_bounds__") {
        size_t open = text.find('(', at), close = partner(text, open);
        bounds = text.substr(open + 1, close - open - 1);
        size_t comma = bounds.find(',');
        if (bounds.find('(') == std::string::npos && comma != std::string::npos) bounds.resize(comma);
        at = close + 1;
      }
    }
    if (at >= text.size() || text[at] != '(') continue;
    out += "extern \"C\" __attribute__((visibility(\"default\"))) void " + word + "__launch(void **arguments) { kiln_start(&" +
           word + ", arguments); }\n";
    if (!bounds.empty())
      out += "extern \"C\" __attribute__((visibility(\"default\"))) const int " + word + "__bounds = int(" + bounds + ");\n";
  }
  return out;
}

std::string build(const Program &program, const std::vector<std::string> &options) {
  std::string flags;
  bool includes = false;
  for (size_t i = 0; i < options.size(); i++) {
    const std::string &option = options[i];
    auto starts = [&](const char *with) { return !option.compare(0, strlen(with), with); };
    if (starts("-D") && option.size() > 2) flags += " " + quoted(option);
    else if (option == "-D" && i + 1 < options.size()) flags += " " + quoted("-D" + options[++i]);
    else if (starts("--define-macro=")) flags += " " + quoted("-D" + option.substr(15));
    else if (starts("--include-path=") || starts("-I")) includes = true;
  }
  std::string folder = home(), store = cache();
  std::string everything = program.source + '\0' + flags + '\0' + read(folder + "/kernel.h") + read(folder + "/abi.h");
  char digits[17];
  snprintf(digits, sizeof digits, "%016llx", hash(everything + processor()));
  std::string target = store + "/" + digits + ".so";
  if (!access(target.c_str(), R_OK)) return target;

  Scratch scratch(store);
  std::string given = scratch.file("given.cpp"), full = scratch.file("full.cpp"), made = scratch.file("made.so");
  std::ofstream(given) << program.source;

  std::string text, output;
  if (command("g++ -E -P -x c++ -std=c++17 -DKILN_EMULATED=1 -D__CUDA_ARCH__=900 -D__CUDACC__=1 -D__CUDACC_RTC__=1" + flags +
                  " " + quoted(given), text))
    throw Failure{text};
  refuse(program.source, text, includes);

  // C++ has no array of a size that comes with the launch.
  static const std::regex dynamic(
      "extern\\s+__shared__\\s+(?:(?:__align__|alignas)\\s*\\([^)]*\\)\\s*)?((?:\\w+\\s+)*\\w+)\\s+"
      "(?:(?:__align__|alignas)\\s*\\([^)]*\\)\\s*)?(\\w+)\\s*\\[\\s*\\]\\s*;");
  std::string source = std::regex_replace(program.source, dynamic, "$1 *const $2 = ($1 *)kiln_dynamic;");
  // A namespace without a name: `__shared__` inside templates would otherwise be merged by the linker, in a section that cannot.
  std::ofstream(full) << "#include \"kernel.h\"\nnamespace {\n#line 1 \"" << program.name << "\"\n" << source
                      << "\n}\n#line 1 \"trampolines\"\n" << trampolines(text);
  int failed = command("g++ -O2 -march=native -fPIC -shared -fvisibility=hidden -Wl,-Bsymbolic -x c++ -std=c++17 -fno-exceptions"
                       " -fno-strict-aliasing -fwrapv -w -I" +
                           quoted(folder) + flags + " -o " + quoted(made) + " " + quoted(full),
                       output);
  // Renamed once it is complete: others may be looking.
  if (!failed && rename(made.c_str(), target.c_str())) failed = 1;
  if (failed) throw Failure{output};
  return target;
}

}  // namespace

API Status nvrtcVersion(int *major, int *minor) { return *major = 13, *minor = 0, OK; }
API const char *nvrtcGetErrorString(int status) {
  switch (status) {
    case OK: return "NVRTC_SUCCESS";
    case INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
    case INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
    case COMPILATION: return "NVRTC_ERROR_COMPILATION";
    default: return "NVRTC_ERROR_INTERNAL_ERROR";
  }
}
API Status nvrtcCreateProgram(Program **program, const char *source, const char *name, int headers, const char *const *,
                              const char *const *) {
  if (!source || headers) return INVALID_INPUT;
  return *program = new Program{source, name ? name : "default_program", "", ""}, OK;
}
API Status nvrtcDestroyProgram(Program **program) {
  if (!*program) return INVALID_PROGRAM;
  return delete *program, OK;
}
API Status nvrtcCompileProgram(Program *program, int count, const char *const *options) {
  if (!program) return INVALID_PROGRAM;
  try {
    program->ptx = "//kiln-emulated " + build(*program, {options, options + count}) + "\n";
    return OK;
  } catch (const Failure &failure) {
    program->log = failure.log;
    return COMPILATION;
  }
}
API Status nvrtcGetPTXSize(Program *program, size_t *size) { return *size = program->ptx.size() + 1, OK; }
API Status nvrtcGetPTX(Program *program, char *out) { return strcpy(out, program->ptx.c_str()), OK; }
API Status nvrtcGetProgramLogSize(Program *program, size_t *size) { return *size = program->log.size() + 1, OK; }
API Status nvrtcGetProgramLog(Program *program, char *out) { return strcpy(out, program->log.c_str()), OK; }
API Status nvrtcGetCUBINSize(Program *, size_t *size) { return *size = 0, OK; }
API Status nvrtcAddNameExpression(Program *, const char *) { return INVALID_INPUT; }
