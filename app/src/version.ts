import { readFileSync } from 'node:fs';

/** The release, out of the workspace's own manifest. */
export const VERSION: string = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version;
