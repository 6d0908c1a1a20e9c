/** Lines of cells in columns as wide as their widest cell, three blanks apart, ten wide at least: as Docker's lists. */
export const layoutTable = (rows: readonly (readonly string[])[]): string => {
  const widths: number[] = [];
  for (const row of rows)
    row.slice(0, -1).forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 10, cell.length + 3);
    });
  return rows
    .map((row) => row.map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths[i]!) : cell)).join(""))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
};
