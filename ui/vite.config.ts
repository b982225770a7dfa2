import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

const require = createRequire(import.meta.url);

/**
 * pdf.js looks up character maps and the standard fonts by file name under a folder, at run time. Vite can't see
 * those names, so the folders are put beside the page as they are.
 */
function pdfResources(): Plugin {
  const root = dirname(require.resolve('pdfjs-dist/package.json'));
  return {
    name: 'carrel-pdf-resources',
    apply: 'build',
    generateBundle() {
      for (const folder of ['cmaps', 'standard_fonts']) {
        for (const name of readdirSync(join(root, folder))) {
          this.emitFile({
            type: 'asset',
            fileName: `pdf/${folder}/${name}`,
            source: readFileSync(join(root, folder, name)),
          });
        }
      }
    },
  };
}

const host = process.env['CARREL_HOST'] ?? 'http://127.0.0.1:7420';

export default defineConfig({
  plugins: [svelte(), pdfResources()],
  resolve: { alias: { $lib: join(import.meta.dirname, 'src/lib') } },
  build: {
    target: ['es2022', 'safari16.4', 'chrome111'],
    // A `data:` font or picture would need a wider content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: {
        index: join(import.meta.dirname, 'index.html'),
        diagnostics: join(import.meta.dirname, 'diagnostics.html'),
      },
    },
  },
  server: {
    port: 5273,
    strictPort: true,
    proxy: { '/api': host, '/media': host },
  },
});
