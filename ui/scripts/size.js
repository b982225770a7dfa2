// Measures what a first visit has to load before anything is painted: the entry script and all it imports statically.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

const LIMIT_KIB = 60;
const dist = join(import.meta.dirname, '..', 'dist');
const html = readFileSync(join(dist, 'index.html'), 'utf8');
const queue = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+\.js)"/g)].map((match) => match[1]);
const seen = new Map();

while (queue.length > 0) {
  const file = queue.pop();
  if (seen.has(file)) continue;
  const code = readFileSync(join(dist, file), 'utf8');
  seen.set(file, gzipSync(code).length);
  for (const match of code.matchAll(/(?:from|import)\s*["'](\.\/[^"']+\.js)["']/g)) {
    queue.push(join(dirname(file), match[1]));
  }
}

const total = [...seen.values()].reduce((sum, bytes) => sum + bytes, 0) / 1024;
for (const [file, bytes] of seen) console.log(`${(bytes / 1024).toFixed(1).padStart(7)} KiB  ${file}`);
console.log(
  `${total.toFixed(1).padStart(7)} KiB  gzipped JavaScript before the first paint (limit ${LIMIT_KIB})`,
);
if (seen.size === 0 || total > LIMIT_KIB) process.exit(1);
