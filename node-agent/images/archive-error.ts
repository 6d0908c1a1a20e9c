import { TswarmError } from "#base/errors.ts";

/** Full disks and the like stay what they are; anything else that reading throws means a damaged archive. */
export const archiveError = (thrown: unknown): TswarmError => {
  if (thrown instanceof TswarmError) return thrown;
  const error = thrown as NodeJS.ErrnoException;
  if (error.syscall !== undefined)
    return new TswarmError("internal", `loading an image: ${error.message}`, { cause: thrown });
  const issue = {
    field: "archive",
    reason: `it is no tar archive, damaged or cut off (${error.message})`,
    remedy: "Copy or save the archive again",
  };
  const text = `${issue.field}: ${issue.reason}. ${issue.remedy}.`;
  return new TswarmError("invalid", text, { issues: [issue], cause: thrown });
};
