// Breaks the code under test from outside: while a module is loaded, a piece of its text is replaced. To be called before
// anything else is imported, in a process of its own.
import { registerHooks } from "node:module";
import type { Edit } from "#test-cluster/sim/mutants/mutant.ts";

/** Throws, when the module is loaded, if the text is not there exactly once: the code has changed, the mutant must follow. */
export const mutate = (edits: readonly Edit[]): void => {
  registerHooks({
    load: (url, context, nextLoad) => {
      const loaded = nextLoad(url, context);
      const mine = edits.filter(({ file }) => url.endsWith(`/${file}`));
      if (mine.length === 0) return loaded;
      let text = Buffer.from(loaded.source as Uint8Array).toString();
      for (const { file, from, to } of mine) {
        if (text.split(from).length !== 2) throw new Error(`${file} does not have this text exactly once: ${from}`);
        text = text.replace(from, () => to);
      }
      return { ...loaded, source: text };
    },
  });
};
