/** "Name: value" lines; lists and mappings are indented below their name; what is empty is left out. */
export const renderFields = (fields: readonly (readonly [string, unknown])[]): string => {
  const width = Math.max(...fields.map(([name]) => name.length)) + 2;
  const lines: string[] = [];
  for (const [name, value] of fields) {
    if (value === undefined || value === null || value === "") continue;
    if (typeof value !== "object") lines.push(`${`${name}:`.padEnd(width)}${value}`);
    else {
      const inner = Array.isArray(value) ? value.map(String) : Object.entries(value).map(([k, v]) => `${k}=${v}`);
      if (inner.length > 0) lines.push(`${name}:`, ...inner.map((line) => `  ${line}`));
    }
  }
  return `${lines.join("\n")}\n`;
};
