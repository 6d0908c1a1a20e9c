/** The comma-separated fields of a flag; a field with commas stands in double quotes: `name=a,"driver-opt=k=1,2"`. */
export const splitFields = (written: string): string[] =>
  [...written.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"(?=,|$)|([^,]*))/g)].map(
    ([, quoted, bare]) => quoted?.replaceAll('""', '"') ?? bare ?? "",
  );
