import type { Issue } from "#base/errors.ts";

/** Gathers everything that is wrong with one input, so that the user sees it at once. */
export class Issues {
  readonly list: Issue[] = [];

  add(field: string, reason: string, remedy: string): void {
    this.list.push({ field, reason, remedy });
  }

  /** Adds the issue unless the condition holds; returns the condition. */
  check(condition: boolean, field: string, reason: string, remedy: string): boolean {
    if (!condition) this.add(field, reason, remedy);
    return condition;
  }
}
