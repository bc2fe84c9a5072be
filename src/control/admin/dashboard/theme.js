// Light or dark: the choice of the operator, else that of the system. Runs before the first paint, so that
// a dark page does not flash white.

(() => {
  const KEY = 'tidegate theme';
  const root = document.documentElement;

  // The browser may forbid storage.
  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const store = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      /* then not */
    }
  };
  const apply = (theme) => {
    root.dataset.theme = ['light', 'dark'].includes(theme) ? theme : 'auto';
  };

  apply(stored());
  addEventListener('DOMContentLoaded', () => {
    const fieldset = document.getElementById('theme');
    fieldset.querySelector(`[value=${root.dataset.theme}]`).checked = true;
    fieldset.addEventListener('change', (event) => {
      apply(event.target.value);
      store(event.target.value);
    });
  });
})();
