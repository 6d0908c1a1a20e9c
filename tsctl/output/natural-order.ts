const piecesOf = (text: string): string[] => text.match(/\d+|\D+/g) ?? [];

/**
 * Orders names as people count: web.2 before web.10. Not localeCompare: its first call loads ICU's tables, which takes a
 * sixth of a whole command.
 */
export const naturalOrder = (a: string, b: string): number => {
  const [left, right] = [piecesOf(a), piecesOf(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [x, y] = [left[i]!, right[i]!];
    const byNumber = Number(x) - Number(y);
    if (byNumber < 0 || byNumber > 0) return byNumber;
    if (x !== y) return x < y ? -1 : 1;
  }
  return left.length - right.length;
};
