import type { Annotations } from "#proto/gen/types.ts";
import type { Issues } from "./issues.ts";

/** Docker's pattern for names of objects. */
const OBJECT_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
/** A service's name is a DNS name of one label; the underscore comes from stacks ("shop_web"). */
const SERVICE_NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?$/;
const MAX_NAME = 63;

export const checkName = (issues: Issues, annotations: Annotations | undefined, kind: "service" | "object"): void => {
  const field = "annotations.name";
  const name = annotations?.name ?? "";
  if (!issues.check(name !== "", field, "it is empty", "Give a name")) return;
  issues.check(name.length <= MAX_NAME, field, `it has ${name.length} characters`, `Use at most ${MAX_NAME}`);
  if (kind === "service")
    issues.check(
      SERVICE_NAME.test(name),
      field,
      `${JSON.stringify(name)} is no DNS name`,
      "Use letters, digits, - and _; begin and end with a letter or digit",
    );
  else
    issues.check(
      OBJECT_NAME.test(name),
      field,
      `${JSON.stringify(name)} is no valid name`,
      "Use letters, digits, _ . - and begin with a letter or digit",
    );
  checkLabels(issues, "annotations.labels", annotations?.labels ?? {});
};

export const checkLabels = (issues: Issues, field: string, labels: Record<string, string>): void => {
  for (const key of Object.keys(labels))
    issues.check(
      key.trim() !== "" && !/[\s=]/.test(key),
      field,
      `${JSON.stringify(key)} is no label name`,
      "Use KEY=VALUE without blanks in KEY",
    );
};
