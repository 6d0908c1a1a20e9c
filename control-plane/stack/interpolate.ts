// Variables in the values of a stack file: $NAME, ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:?message},
// ${NAME?message}, ${NAME:+other}, ${NAME+other}; $$ is a dollar. Reference: Compose Specification, 12-interpolation.

export type Variables = Readonly<Record<string, string | undefined>>;

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;

/** Index of the brace that closes the one before `from`; -1 without. */
const closing = (text: string, from: number): number => {
  let depth = 1;
  for (let i = from; i < text.length; i++) {
    if (text.startsWith("${", i)) {
      depth++;
      i++;
    } else if (text[i] === "}" && --depth === 0) return i;
  }
  return -1;
};

const substitute = (expression: string, variables: Variables, fail: (reason: string) => void): string => {
  const name = NAME.exec(expression)?.[0];
  const operator = name === undefined ? undefined : /^(:?[-?+])?/.exec(expression.slice(name.length))?.[0];
  const rest = expression.slice((name ?? "").length + (operator ?? "").length);
  if (name === undefined || (operator === "" && rest !== "")) {
    fail(`"\${${expression}}" is not a variable`);
    return "";
  }
  const value = variables[name];
  const present = value !== undefined && !(operator?.startsWith(":") && value === "");
  switch (operator?.at(-1)) {
    case "-":
      return present ? value : interpolate(rest, variables, fail);
    case "+":
      return present ? interpolate(rest, variables, fail) : "";
    case "?":
      if (!present) fail(`variable ${name} is required${rest === "" ? "" : `: ${rest}`}`);
      return value ?? "";
    default:
      return value ?? "";
  }
};

/** Replaces all variables of one value; `fail` is told what is malformed or missing. An unset variable is empty. */
export const interpolate = (text: string, variables: Variables, fail: (reason: string) => void): string => {
  let out = "";
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== "$") out += text[i];
    else if (text[i + 1] === "$") {
      out += "$";
      i++;
    } else if (text[i + 1] === "{") {
      const end = closing(text, i + 2);
      if (end < 0) {
        fail(`"${text.slice(i)}" has no closing brace`);
        return out;
      }
      out += substitute(text.slice(i + 2, end), variables, fail);
      i = end;
    } else {
      const name = NAME.exec(text.slice(i + 1))?.[0];
      if (name === undefined) {
        fail(`"$" stands alone; write "$$" for a dollar`);
        return out;
      }
      out += variables[name] ?? "";
      i += name.length;
    }
  }
  return out;
};
