"How Sphinx makes the site from the pages that `build.py` prepares: nothing is executed, and nothing comes from elsewhere."
import importlib.util, os, sys
from pathlib import Path
HERE = Path(os.environ['MINISGD_SITE'])     # this folder: Sphinx reads the prepared pages from another one
sys.path.insert(0, str(HERE))
from pages import settings

cfg = settings()
project = cfg['lib_name']
html_title = project
copyright = cfg['copyright']

extensions = ['myst_nb']
nb_execution_mode = 'off'
nb_render_markdown_format = 'myst'
nb_merge_streams = True
myst_enable_extensions = ['dollarmath', 'amsmath']
myst_heading_anchors = 3        # as `pages.slug` makes them

# MathJax in one file without fonts. The package on PyPI was made for Django, but is nothing more than the files.
mathjax = Path(importlib.util.find_spec('mathjax').origin).parent/'static/mathjax/es5/tex-svg-full.js'
mathjax_path = mathjax.name
mathjax3_config = {'tex': {'inlineMath': [['\\(', '\\)']], 'displayMath': [['\\[', '\\]']]},
                   'options': {'enableMenu': False}}

html_theme = 'sphinx_book_theme'
html_static_path = [str(HERE/'static'), str(mathjax)]
templates_path = [str(HERE/'templates')]
html_css_files = ['site.css']
html_favicon = str(HERE/'static/favicon.svg')
html_context = {'default_mode': 'auto'}     # light or dark as the reader's system has it
html_copy_source = False
html_use_index = False
html_theme_options = dict(
    repository_url=cfg['git_url'], repository_branch=cfg['branch'], use_repository_button=True,
    use_download_button=False, navbar_persistent=[], home_page_in_toc=False, show_toc_level=2,
    footer_content_items=['copyright.html'], search_bar_text='Search the course',
    pygments_light_style='a11y-high-contrast-light', pygments_dark_style='a11y-high-contrast-dark')
