# shellcheck shell=bash
# Reads settings from the .tfvars files: terraform.tfvars, *.auto.tfvars and the file given with --var-file. As in
# Terraform, only top-level assignments count, and the last file wins.

# get FILE NAME             the value, if it is a plain string
# find FILE NAME            LINE, a tab and the text of that line, if the name is set at all
# differs FILE NAME VALUE   the same, if it is set to anything else
# put FILE NAME VALUE       appends it
tfvars() { # COMMAND ARGUMENTS…
  python3 - "$@" <<'PYTHON'
import json, os, re, sys

command, path, name, *value = sys.argv[1:]

TOKEN = re.compile(r'''
    (?P<comment>\#[^\n]*|//[^\n]*|/\*.*?\*/)
  | (?P<heredoc><<-?(?P<end>\w+)\n.*?^[ \t]*(?P=end)[ \t]*$)
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<open>[\[{(]) | (?P<close>[\]})])
  | (?P<name>[A-Za-z_][\w-]*)(?P<equals>\s*=(?!=))?
''', re.X | re.S | re.M)


def unquoted(text):
    escapes = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}

    def plain(match):
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] in "uU" else escapes.get(code, code)

    text = re.sub(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", plain, text[1:-1])
    return text.replace("$${", "${").replace("%%{", "%{")


def found():
    """(line number, value or None if it is no plain string) of the name's last assignment at the top level."""
    with open(path, encoding="utf-8-sig") as file:
        text = file.read()
    if path.endswith(".json"):
        values = json.loads(text)
        if name not in values:
            return None
        line = re.search(rf'"{re.escape(name)}"\s*:', text)
        return (text.count("\n", 0, line.start()) + 1 if line else 1, values[name] if isinstance(values[name], str) else None), text
    depth, result, waiting = 0, None, False
    for token in TOKEN.finditer(text):
        if token["comment"]:
            continue
        if waiting and token["string"]:
            result = (result[0], unquoted(token["string"]))
        waiting = False
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
        elif token["equals"] and depth == 0 and token["name"] == name:
            result, waiting = (text.count("\n", 0, token.start()) + 1, None), True
    return result and (result, text)


def same(one, other):
    """Terms and phrases are compared without case and spacing."""
    return one is not None and " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


if command == "put":
    quoted = json.dumps(value[0], ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
    text = open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    text += "" if not text or text.endswith("\n") else "\n"
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(f"{text}{name} = {quoted}\n")
    os.replace(path + ".new", path)
    sys.exit()
try:
    answer = found()
except ValueError as error:
    sys.exit(f"{path} cannot be read: {error}")
if answer is None or command == "differs" and same(answer[0][1], value[0]):
    sys.exit()
(line, said), text = answer
print(said or "" if command == "get" else f"{line}\t{text.splitlines()[line - 1].strip()}")
PYTHON
}

# Lists the files that Terraform reads, in ascending precedence.
var_files() {
  local file
  for file in "$repository"/terraform/terraform.tfvars "$repository"/terraform/terraform.tfvars.json \
    "$repository"/terraform/*.auto.tfvars "$repository"/terraform/*.auto.tfvars.json "${var_file:-}"; do
    [[ ! -f $file ]] || printf '%s\n' "$file"
  done
}

from_var_file() { # NAME
  local file value="" said
  while IFS= read -r file; do
    said=$(tfvars find "$file" "$1") || return
    if [[ -n $said ]]; then value=$(tfvars get "$file" "$1") || return; fi
  done < <(var_files)
  printf '%s\n' "$value"
}

# Prints "FILE, line N, says NAME = …" for the file that wins.
where_set() { # NAME
  local file said last=""
  while IFS= read -r file; do
    said=$(tfvars find "$file" "$1") || return
    [[ -z $said ]] || last="$file, line ${said%%$'\t'*}, says ${said#*$'\t'}"
  done < <(var_files)
  printf '%s' "$last"
}

# Checks --var-file, and takes the project from the files: the scripts pass it to Terraform as an option, which would
# override them.
find_var_file() {
  local said
  needs python3 "Install Python 3."
  if [[ -n $var_file ]]; then
    [[ -f $var_file ]] || fail "There is no file $var_file." "Name the .tfvars file: --var-file FILE"
    var_file=$(cd "$(dirname "$var_file")" && pwd)/${var_file##*/}
  fi
  said=$(from_var_file project_id)
  [[ -z $project || -z $said || $project == "$said" ]] ||
    fail "$(where_set project_id), and you named $project." "Name the .tfvars file of $project: --var-file FILE"
  project=${project:-$said}
}

# Refuses what Terraform would refuse, before it is written to a file.
check_setting() { # OPTION VALUE MOST_PHRASES
  python3 - "$@" <<'PYTHON' || fail "$1 \"$2\" is refused." "A term or phrase has 1 to 100 characters, at least one letter or digit, and no control characters."
import sys

option, value, most = sys.argv[1:]
phrases = value.split("|") if int(most) > 1 else [value]
good = all(0 < len(p.strip()) <= 100 and any(c.isalnum() for c in p) and p.isprintable() for p in phrases)
sys.exit(not (good and len(phrases) <= int(most)))
PYTHON
}

# Saves an option's value for later runs. Stops if a file that Terraform reads has a different value.
keep_setting() { # OPTION NAME VALUE
  local file said missing=true
  while IFS= read -r file; do
    said=$(tfvars differs "$file" "$2" "$3")
    [[ -z $said ]] ||
      fail "$file, line ${said%%$'\t'*}, says ${said#*$'\t'}, and you said $1 \"$3\"." "Change that line, or leave out $1."
    said=$(tfvars find "$file" "$2")
    [[ -z $said ]] || missing=false
  done < <(var_files)
  $missing || return 0
  tfvars put "$repository/terraform/terraform.tfvars" "$2" "$3"
  say "Written to terraform/terraform.tfvars: $2 = \"$3\""
}
