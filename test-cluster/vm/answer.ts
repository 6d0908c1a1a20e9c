// The guest's answer to a command (guest/serve.sh): what the command wrote, then "\n<mark> <exit code>\n".

export type Answer = { readonly code: number; readonly output: string };

/**
 * Takes the answer in pieces of any size; gives it when the mark has come. `onOutput` gets the output as it comes, but not
 * its last line before the next: that may become the mark.
 */
export const answerReader = (mark: string, onOutput: (text: string) => void) => {
  const end = new RegExp(`\n${mark} (\\d+)\n$`);
  let text = "";
  let reported = 0;
  return {
    take(piece: string): Answer | undefined {
      text += piece;
      const match = end.exec(text.slice(-mark.length - 16));
      const length = match ? text.length - match[0].length : text.lastIndexOf("\n");
      if (length > reported) {
        onOutput(text.slice(reported, length));
        reported = length;
      }
      return match ? { code: Number(match[1]), output: text.slice(0, length) } : undefined;
    },
    /** All that has come so far. */
    text: () => text,
  };
};
