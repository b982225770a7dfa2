import { join } from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [svelte()],
  resolve: { alias: { $lib: join(import.meta.dirname, 'src/lib') } },
  test: { include: ['src/**/*.test.ts'] },
});
