// SPDX-License-Identifier: Apache-2.0
// Error pages are written without the request; they read the theme's cookie here,
// before anything is painted.
"use strict";
{
  const chosen = document.cookie.match(/(?:^|; )theme=(auto|light|dark)(?:;|$)/);
  if (chosen) document.documentElement.dataset.theme = chosen[1];
}
